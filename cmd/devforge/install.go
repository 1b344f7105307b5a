package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"reflect"
	"runtime"
	"strconv"
	"syscall"

	gitea "code.gitea.io/gitea/cmd"
)

// config turns off what makes a forge slow to start or talk to others, and lets webhooks come back to this machine.
const config = `RUN_USER = %[3]s
RUN_MODE = prod
WORK_PATH = %[1]s
[server]
PROTOCOL = http
HTTP_ADDR = 127.0.0.1
HTTP_PORT = %[2]d
ROOT_URL = http://127.0.0.1:%[2]d/
STATIC_ROOT_PATH = %[1]s/static
DISABLE_SSH = true
OFFLINE_MODE = true
[database]
DB_TYPE = sqlite3
PATH = %[1]s/gitea.db
[security]
INSTALL_LOCK = true
SECRET_KEY = %[4]s
PASSWORD_HASH_ALGO = pbkdf2_v1
[service]
DISABLE_REGISTRATION = true
[repository]
DEFAULT_BRANCH = main
[webhook]
ALLOWED_HOST_LIST = loopback
[session]
PROVIDER = memory
[queue]
TYPE = channel
[indexer]
ISSUE_INDEXER_TYPE = db
[actions]
ENABLED = false
[packages]
ENABLED = false
[cron]
ENABLED = false
[cron.update_checker]
ENABLED = false
[log]
MODE = console
LEVEL = Warn
`

// install puts into dir all that Gitea needs, so that it can be somebody who may read nothing else.
func install(dir string, port int, as *syscall.Credential) error {
	static, err := staticFiles()
	if err != nil {
		return err
	}
	for _, folder := range []string{"templates", "public", "options"} {
		if err := os.CopyFS(filepath.Join(dir, "static", folder), os.DirFS(filepath.Join(static, folder))); err != nil {
			return err
		}
	}
	if err := own(filepath.Join(dir, "devforge")); err != nil {
		return err
	}
	text := fmt.Sprintf(config, dir, port, username(as), rand.Text())
	if err := os.WriteFile(filepath.Join(dir, "app.ini"), []byte(text), 0o600); err != nil {
		return err
	}
	if as == nil {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Name() == "devforge" {
			return err
		}
		return os.Chown(path, int(as.Uid), int(as.Gid))
	})
}

// staticFiles is the folder of Gitea's module, of whose files not all are compiled into the program.
func staticFiles() (string, error) {
	file, _ := runtime.FuncForPC(reflect.ValueOf(gitea.NewMainApp).Pointer()).FileLine(0)
	dir := filepath.Dir(filepath.Dir(file))
	if _, err := os.Stat(filepath.Join(dir, "templates")); err != nil {
		return "", fmt.Errorf("the module of Gitea is not where devforge was built from it, build it again: %w", err)
	}
	return dir, nil
}

// own puts this program at a path: as a link, or as a copy on another file system.
func own(path string) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.Link(program, path); err == nil {
		return nil
	}
	from, err := os.Open(program)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

// unprivileged is who Gitea runs as; nil is whoever this is, if that is not root.
func unprivileged() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(nobody.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(nobody.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}

func username(as *syscall.Credential) string {
	if as != nil {
		return "nobody"
	}
	if current, err := user.Current(); err == nil {
		return current.Username
	}
	return os.Getenv("USER")
}
