package repoplan

import (
	"maps"
	"slices"
	"strings"
)

// put writes a file into a tree, where nothing can be a file and a folder at once.
func put(tree map[string]File, f File) {
	for path := f.Path; path != ""; path = parent(path) {
		delete(tree, path)
	}
	remove(tree, f.Path)
	tree[f.Path] = f
}

// remove takes a path out of a tree, with whatever is below it.
func remove(tree map[string]File, path string) {
	maps.DeleteFunc(tree, func(name string, _ File) bool { return name == path || strings.HasPrefix(name, path+"/") })
}

// change does to a tree what people do.
func (d *drawing) change(tree map[string]File) {
	for range 1 + d.rng.IntN(d.busy) {
		d.edit(tree)
	}
}

func (d *drawing) edit(tree map[string]File) {
	existing := d.existing(tree)
	if existing == "" || d.chance(35) {
		put(tree, d.file(d.place()))
		return
	}
	f := tree[existing]
	switch d.rng.IntN(22) {
	case 0:
		delete(tree, existing)
	case 1:
		remove(tree, d.folderOf(existing))
	case 2, 3: // moved or copied
		if d.chance(50) {
			delete(tree, existing)
		}
		f.Path = d.place()
		put(tree, f)
	case 4:
		d.moveFolder(tree, d.folderOf(existing))
	case 5, 6:
		if f.Mode == Regular || f.Mode == Executable {
			f.Mode = map[string]string{Regular: Executable, Executable: Regular}[f.Mode]
			put(tree, f)
		}
	case 7: // a file becomes a folder
		f.Path = existing + "/" + pick(d, d.names)
		put(tree, f)
	case 8: // a folder becomes a file
		put(tree, d.file(d.folderOf(existing)))
	case 9:
		put(tree, File{existing, Link, Content{Literal: pick(d, []string{"a.yaml", "../../etc/passwd", "docs"})}})
	case 10:
		d.fresh++
		put(tree, File{existing, Module, Content{Seed: d.fresh}})
	case 11: // the same bytes as something else
		if f.Mode == Link || f.Mode == Module {
			return
		}
		f.Mode = pick(d, []string{Regular, Executable, Link})
		put(tree, f)
	case 12: // as it once was
		if old := d.older(existing); old.Path != "" {
			put(tree, old)
		}
	case 13: // everything as it once was
		if len(d.plan.Commits) > 0 {
			clear(tree)
			maps.Copy(tree, d.trees[pick(d, d.plan.Commits).ID])
		}
	default:
		if f.Mode == Regular || f.Mode == Executable {
			if f.Content.Literal != "" {
				f = d.file(existing)
			}
			f.Content.Edit++
			put(tree, f)
		}
	}
}

// existing draws a path that is there, "" when there is none where it looks.
func (d *drawing) existing(tree map[string]File) string {
	inside := !d.chance(d.beside)
	var paths []string
	for path := range tree {
		if d.watched(path) == inside {
			paths = append(paths, path)
		}
	}
	if len(paths) == 0 {
		return ""
	}
	slices.Sort(paths)
	return pick(d, paths)
}

func (d *drawing) watched(path string) bool {
	return slices.ContainsFunc(d.o.Watched, func(dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") })
}

func (d *drawing) older(path string) File {
	for range 5 {
		if len(d.plan.Commits) == 0 {
			break
		}
		if f, there := d.trees[pick(d, d.plan.Commits).ID][path]; there {
			return f
		}
	}
	return File{}
}

// folderOf returns one of the folders that a path is in, the path itself when it is in none.
func (d *drawing) folderOf(path string) string {
	parts := strings.Split(path, "/")
	if len(parts) == 1 {
		return path
	}
	return strings.Join(parts[:1+d.rng.IntN(len(parts)-1)], "/")
}

func (d *drawing) moveFolder(tree map[string]File, from string) {
	to := d.place()
	if to == from || strings.HasPrefix(to, from+"/") || strings.HasPrefix(from, to+"/") {
		return
	}
	for _, path := range slices.Sorted(maps.Keys(tree)) {
		if below, inside := strings.CutPrefix(path, from+"/"); inside {
			f := tree[path]
			delete(tree, path)
			f.Path = to + "/" + below
			put(tree, f)
		}
	}
}

// place draws a path for something new.
func (d *drawing) place() string {
	folder := pick(d, d.folders)
	if len(d.o.Watched) > 0 && !d.chance(d.beside) {
		folder = pick(d, d.o.Watched)
	}
	for d.chance(25) && strings.Count(folder, "/") < 8 {
		folder += "/" + pick(d, []string{"demo", "prod", "a", "x.d"})
	}
	return strings.TrimPrefix(folder+"/"+pick(d, d.names), "/")
}

// file draws a new file: mostly a small text, and now and then one that is empty, too large, or of another kind.
func (d *drawing) file(path string) File {
	d.fresh++
	if d.chance(10) && d.fresh > 1 {
		d.fresh-- // the same content as the last one
	}
	f := File{path, Regular, Content{Seed: d.fresh}}
	switch n := d.rng.IntN(40); {
	case n < 2: // empty
	case n < 4:
		f.Content.Size = d.o.MaxSize + 1 + d.rng.IntN(4*d.o.MaxSize)
		f.Content.Noise = d.chance(50)
	case n < 5:
		f.Content.Size = d.o.MaxSize - 1 + d.rng.IntN(3)
	case n < 7:
		f.Content.Size, f.Content.Noise = d.rng.IntN(d.o.MaxSize), true
	case n < 8:
		f.Content.Literal = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
	default:
		f.Content.Size = 1 + d.rng.IntN(min(d.o.MaxSize, 3000))
	}
	if d.chance(8) {
		f.Mode = Executable
	}
	return f
}
