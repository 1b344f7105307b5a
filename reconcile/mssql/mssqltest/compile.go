package mssqltest

import (
	"strings"

	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest/internal/tds"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest/internal/tsql"
)

// A formula computes a value, of a type that is known beforehand, from the rows of the sources side by side.
// The value of a condition is true, false or nil, which is unknown.
type formula struct {
	kind tds.Type
	eval func(row []any) (any, error)
}

// A place is a column that an expression may name.
type place struct {
	source string
	column tds.Column
}

// of reports whether the place is a column of the source of that name; every place is one of a source without name.
func (p place) of(source string) bool { return source == "" || strings.EqualFold(p.source, source) }

var (
	intType     = tds.Type{Kind: tds.Int, Size: 4}
	bigintType  = tds.Type{Kind: tds.Int, Size: 8}
	bitType     = tds.Type{Kind: tds.Bit}
	sysnameType = tds.Type{Kind: tds.NVarChar, Size: 128}
	maxType     = tds.Type{Kind: tds.NVarChar}
	variantType = tds.Type{Kind: tds.Variant}
	momentType  = tds.Type{Kind: tds.DateTime}
)

// constant computes an expression that names no column.
func (e *execution) constant(x tsql.Expr) (any, error) {
	f, err := e.compile(x, nil)
	if err != nil {
		return nil, err
	}
	return f.eval(nil)
}

func (e *execution) compile(x tsql.Expr, places []place) (formula, error) {
	switch x := x.(type) {
	case tsql.Literal:
		return formula{literalType(x.Value), func([]any) (any, error) { return x.Value, nil }}, nil
	case tsql.Variable:
		variable := e.variables[x.Name]
		if variable == nil { // declared in a branch that did not run
			variable = &binding{kind: intType}
		}
		return formula{variable.kind, func([]any) (any, error) { return variable.value, nil }}, nil
	case tsql.Global:
		return e.compileCall(x.Name, nil, places)
	case tsql.Function:
		return e.compileCall(x.Name, x.Args, places)
	case tsql.Column:
		return column(x, places)
	case tsql.CountAll:
		return formula{}, tsql.Errorf(147, 15, "An aggregate may not appear in the WHERE clause unless it is in a subquery contained in a HAVING clause or a select list, and the column being aggregated is an outer reference.")
	case tsql.Subquery:
		return e.compileSubquery(x)
	case tsql.Cast:
		inner, err := e.compile(x.X, places)
		return formula{x.Type, func(row []any) (any, error) {
			v, err := inner.eval(row)
			if err != nil {
				return nil, err
			}
			return convert(v, x.Type, x.Style)
		}}, err
	case tsql.Case:
		return e.compileCase(x, places)
	case tsql.Operation:
		return e.compileOperation(x, places)
	default:
		return e.compileCondition(x, places)
	}
}

func literalType(v any) tds.Type {
	switch v := v.(type) {
	case string:
		return tds.Type{Kind: tds.NVarChar, Size: max(1, units(v))}
	case []byte:
		return tds.Type{Kind: tds.VarBinary, Size: max(1, len(v))}
	case int64:
		if v != int64(int32(v)) {
			return bigintType
		}
	}
	return intType
}

func column(x tsql.Column, places []place) (formula, error) {
	for i, p := range places {
		if strings.EqualFold(p.column.Name, x.Name) && p.of(x.Qualifier) {
			return formula{p.column.Type, func(row []any) (any, error) { return row[i], nil }}, nil
		}
	}
	err := tsql.Errorf(207, 16, "Invalid column name '%s'.", x.Name)
	if x.Qualifier != "" {
		err = tsql.Errorf(4104, 16, "The multi-part identifier \"%s.%s\" could not be bound.", x.Qualifier, x.Name)
	}
	err.Line = x.Line
	return formula{}, err
}

func (e *execution) compileCall(name string, args []tsql.Expr, places []place) (formula, error) {
	f := functions[name]
	compiled, err := e.compileAll(args, places)
	if err != nil {
		return formula{}, err
	}
	types := make([]tds.Type, len(compiled))
	for i, c := range compiled {
		types[i] = c.kind
	}
	kind := f.result(types)
	return formula{kind, func(row []any) (any, error) {
		values := make([]any, len(compiled))
		for i, c := range compiled {
			var err error
			if values[i], err = c.eval(row); err != nil {
				return nil, err
			}
		}
		v, err := f.call(e, values)
		if err != nil {
			return nil, err
		}
		return convert(v, kind, 0)
	}}, nil
}

func (e *execution) compileAll(xs []tsql.Expr, places []place) ([]formula, error) {
	out := make([]formula, len(xs))
	for i, x := range xs {
		var err error
		if out[i], err = e.compile(x, places); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (e *execution) compileCase(x tsql.Case, places []place) (formula, error) {
	when, err := e.compileAll(x.When, places)
	if err != nil {
		return formula{}, err
	}
	last := x.Else
	if last == nil {
		last = tsql.Literal{}
	}
	then, err := e.compileAll(append(append([]tsql.Expr{}, x.Then...), last), places)
	if err != nil {
		return formula{}, err
	}
	kind := then[0].kind
	for i, t := range then[1:] {
		if i == len(then)-2 && last == (tsql.Literal{}) {
			continue // NULL has no type of its own
		}
		kind = common(kind, t.kind)
	}
	return formula{kind, func(row []any) (any, error) {
		chosen := then[len(then)-1]
		for i, w := range when {
			v, err := w.eval(row)
			if err != nil {
				return nil, err
			}
			if v == true {
				chosen = then[i]
				break
			}
		}
		v, err := chosen.eval(row)
		if err != nil {
			return nil, err
		}
		return convert(v, kind, 0)
	}}, nil
}

// common is the type that values of both types have in one column.
func common(a, b tds.Type) tds.Type {
	switch {
	case a.Kind == tds.Variant || b.Kind == tds.Variant:
		return variantType
	case a.Kind == b.Kind && a.Kind == tds.Int:
		return tds.Type{Kind: tds.Int, Size: max(a.Size, b.Size)}
	case a.Kind == b.Kind:
		if a.Size == 0 || b.Size == 0 {
			return tds.Type{Kind: a.Kind}
		}
		return tds.Type{Kind: a.Kind, Size: max(a.Size, b.Size)}
	case a.Kind == tds.NVarChar:
		return b
	case b.Kind == tds.NVarChar:
		return a
	}
	return bigintType
}

func (e *execution) compileOperation(x tsql.Operation, places []place) (formula, error) {
	sides, err := e.compileAll([]tsql.Expr{x.Left, x.Right}, places)
	if err != nil {
		return formula{}, err
	}
	left, right := sides[0], sides[1]
	if x.Operator == "AND" || x.Operator == "OR" {
		return formula{bitType, func(row []any) (any, error) { return logical(x.Operator == "OR", left, right, row) }}, nil
	}
	kind := bitType
	if x.Operator == "+" || x.Operator == "-" {
		kind = common(left.kind, right.kind)
		if left.kind.Kind == tds.NVarChar && right.kind.Kind == tds.NVarChar && left.kind.Size > 0 && right.kind.Size > 0 {
			kind.Size = min(left.kind.Size+right.kind.Size, 4000)
		}
	}
	return formula{kind, func(row []any) (any, error) {
		a, err := left.eval(row)
		if err != nil {
			return nil, err
		}
		b, err := right.eval(row)
		if err != nil || a == nil || b == nil {
			return nil, err
		}
		if x.Operator == "+" || x.Operator == "-" {
			return arithmetic(x.Operator, a, b, kind)
		}
		n, err := compare(a, b)
		return holds(x.Operator, n), err
	}}, nil
}

// logical is AND and OR of three values: one side can decide whatever the other is, unknown included.
func logical(or bool, left, right formula, row []any) (any, error) {
	a, err := left.eval(row)
	if err != nil || a == or {
		return a, err
	}
	b, err := right.eval(row)
	if err != nil || b == or || a != nil {
		return b, err
	}
	return nil, nil
}

func arithmetic(operator string, a, b any, kind tds.Type) (any, error) {
	first, isText := a.(string)
	second, bothText := b.(string)
	if isText && bothText && operator == "+" {
		return truncate(first+second, kind.Size), nil
	}
	m, err := toInteger(a, 8)
	if err != nil {
		return nil, err
	}
	n, err := toInteger(b, 8)
	if err != nil {
		return nil, err
	}
	if operator == "-" {
		n = -n
	}
	return convert(m+n, kind, 0)
}

func holds(operator string, n int) bool {
	switch operator {
	case "=":
		return n == 0
	case "<>":
		return n != 0
	case "<":
		return n < 0
	case "<=":
		return n <= 0
	case ">":
		return n > 0
	default: // >=
		return n >= 0
	}
}
