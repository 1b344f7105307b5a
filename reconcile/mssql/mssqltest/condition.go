package mssqltest

import (
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest/internal/tsql"
)

// compileCondition compiles what is true, false or unknown.
func (e *execution) compileCondition(x tsql.Expr, places []place) (formula, error) {
	condition := func(err error, eval func(row []any) (any, error)) (formula, error) {
		return formula{bitType, eval}, err
	}
	switch x := x.(type) {
	case tsql.Not:
		inner, err := e.compile(x.X, places)
		return condition(err, func(row []any) (any, error) {
			v, err := inner.eval(row)
			if truth, known := v.(bool); known {
				return !truth, err
			}
			return nil, err
		})
	case tsql.IsNull:
		inner, err := e.compile(x.X, places)
		return condition(err, func(row []any) (any, error) {
			v, err := inner.eval(row)
			return v == nil, err
		})
	case tsql.In:
		all, err := e.compileAll(append([]tsql.Expr{x.X}, x.List...), places)
		return condition(err, func(row []any) (any, error) { return in(all[0], all[1:], row) })
	case tsql.Like:
		both, err := e.compileAll([]tsql.Expr{x.X, x.Pattern}, places)
		return condition(err, func(row []any) (any, error) {
			v, err := both[0].eval(row)
			if err != nil || v == nil {
				return nil, err
			}
			pattern, err := both[1].eval(row)
			if err != nil || pattern == nil {
				return nil, err
			}
			return like([]rune(fold(toText(v, 0))), []rune(fold(toText(pattern, 0)))), nil
		})
	case tsql.Exists:
		return condition(nil, func([]any) (any, error) {
			result, err := e.query(x.Query)
			return len(result.rows) > 0, err
		})
	}
	return formula{}, tsql.Errorf(102, 15, "Incorrect syntax near '%T'.", x)
}

func in(x formula, list []formula, row []any) (any, error) {
	v, err := x.eval(row)
	if err != nil || v == nil {
		return nil, err
	}
	var found any = false
	for _, item := range list {
		other, err := item.eval(row)
		if err != nil {
			return nil, err
		}
		if other == nil {
			found = nil // unknown, unless it is found
			continue
		}
		n, err := compare(v, other)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return true, nil
		}
	}
	return found, nil
}

// like matches % to any characters and _ to one.
func like(s, pattern []rune) bool {
	afterStar, retry := -1, 0
	i, j := 0, 0
	for i < len(s) {
		switch {
		case j < len(pattern) && pattern[j] == '%':
			j++
			afterStar, retry = j, i
		case j < len(pattern) && (pattern[j] == '_' || pattern[j] == s[i]):
			i, j = i+1, j+1
		case afterStar >= 0:
			retry++
			i, j = retry, afterStar
		default:
			return false
		}
	}
	for j < len(pattern) && pattern[j] == '%' {
		j++
	}
	return j == len(pattern)
}
