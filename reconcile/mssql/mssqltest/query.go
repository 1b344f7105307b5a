package mssqltest

import (
	"slices"
	"strings"

	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest/internal/tds"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest/internal/tsql"
)

// A result is what a SELECT yields.
type result struct {
	columns []tds.Column
	rows    [][]any
}

// selectRows runs a SELECT and sends its rows, or gives them to variables.
func (e *execution) selectRows(s *tsql.Select) error {
	r, err := e.query(s)
	if err != nil {
		return err
	}
	if s.Items[0].Assign == "" {
		e.answer.Columns(r.columns)
		for _, row := range r.rows {
			e.answer.Row(r.columns, row)
		}
		e.answer.DoneRows(len(r.rows))
		return nil
	}
	if len(r.rows) > 0 { // the last row wins; without one the variables keep their values
		for i, item := range s.Items {
			variable := e.variables[item.Assign]
			if variable == nil {
				return tsql.Errorf(141, 15, "A SELECT statement that assigns a value to a variable must not be combined with data-retrieval operations.")
			}
			if variable.value, err = convert(r.rows[len(r.rows)-1][i], variable.kind, 0); err != nil {
				return err
			}
		}
	}
	e.answer.Done(false)
	return nil
}

func (e *execution) query(s *tsql.Select) (result, error) {
	places, rows, err := e.sources(s.From)
	if err != nil {
		return result{}, err
	}
	if rows, err = e.where(s.Where, places, rows); err != nil {
		return result{}, err
	}
	if len(s.Items) == 1 && s.Items[0].Expr == (tsql.CountAll{}) {
		column := tds.Column{Name: s.Items[0].Alias, Type: intType}
		return result{[]tds.Column{column}, [][]any{{int64(len(rows))}}}, nil
	}
	columns, items, err := e.items(s, places)
	if err != nil {
		return result{}, err
	}
	keys, err := e.sortKeys(s, columns, items, places)
	if err != nil {
		return result{}, err
	}
	out := result{columns: columns}
	var sorted []sortedRow
	for _, row := range rows {
		values, err := evalAll(items, row)
		if err != nil {
			return result{}, err
		}
		key, err := evalAll(keys, row)
		if err != nil {
			return result{}, err
		}
		sorted = append(sorted, sortedRow{key, values})
	}
	if err := sortRows(sorted, s.Order); err != nil {
		return result{}, err
	}
	for _, row := range sorted {
		out.rows = append(out.rows, row.values)
	}
	return out, e.top(s.Top, &out)
}

// compileSubquery computes the one value of a query in parentheses, which is the same for every row.
func (e *execution) compileSubquery(x tsql.Subquery) (formula, error) {
	r, err := e.query(x.Query)
	switch {
	case err != nil:
		return formula{}, err
	case len(r.columns) != 1:
		return formula{}, tsql.Errorf(116, 16, "Only one expression can be specified in the select list when the subquery is not introduced with EXISTS.")
	}
	return formula{r.columns[0].Type, func([]any) (any, error) {
		switch len(r.rows) {
		case 0:
			return nil, nil
		case 1:
			return r.rows[0][0], nil
		}
		return nil, tsql.Errorf(512, 16, "Subquery returned more than 1 value. This is not permitted when the subquery follows =, !=, <, <= , >, >= or when the subquery is used as an expression.")
	}}, nil
}

func evalAll(formulas []formula, row []any) ([]any, error) {
	values := make([]any, len(formulas))
	for i, f := range formulas {
		var err error
		if values[i], err = f.eval(row); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// sources joins the rows of all sources side by side. Without a source there is one row of nothing.
func (e *execution) sources(from []tsql.Source) (places []place, rows [][]any, err error) {
	rows = [][]any{nil}
	for _, source := range from {
		view, err := e.find(source)
		if err != nil {
			return nil, nil, err
		}
		for _, c := range view.columns {
			places = append(places, place{source.Alias, c})
		}
		if rows, err = e.join(source, view, places, rows); err != nil {
			return nil, nil, err
		}
	}
	return places, rows, nil
}

func (e *execution) join(source tsql.Source, v view, places []place, rows [][]any) (joined [][]any, err error) {
	on := tsql.Expr(tsql.Operation{Operator: "=", Left: tsql.Literal{Value: int64(1)}, Right: tsql.Literal{Value: int64(1)}})
	if source.On != nil {
		on = source.On
	}
	others := v.rows(e)
	for _, row := range rows {
		var candidates [][]any
		for _, other := range others {
			candidates = append(candidates, slices.Concat(row, other))
		}
		matched, err := e.where(on, places, candidates)
		if err != nil {
			return nil, err
		}
		if len(matched) == 0 && source.Left {
			matched = [][]any{slices.Concat(row, make([]any, len(v.columns)))}
		}
		joined = append(joined, matched...)
	}
	return joined, nil
}

// where keeps the rows for which a condition is true.
func (e *execution) where(x tsql.Expr, places []place, rows [][]any) (kept [][]any, err error) {
	if x == nil {
		return rows, nil
	}
	condition, err := e.compile(x, places)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		v, err := condition.eval(row)
		if err != nil {
			return nil, err
		}
		if v == true {
			kept = append(kept, row)
		}
	}
	return kept, nil
}

// items compiles what is selected; * is all columns of all sources, or of one.
func (e *execution) items(s *tsql.Select, places []place) (columns []tds.Column, items []formula, err error) {
	for _, item := range s.Items {
		if item.Expr == nil {
			if len(places) == 0 {
				return nil, nil, tsql.Errorf(263, 16, "Must specify table to select from.")
			}
			if !slices.ContainsFunc(places, func(p place) bool { return p.of(item.Of) }) {
				return nil, nil, tsql.Errorf(107, 15, "The column prefix '%s' does not match with a table name or alias name used in the query.", item.Of)
			}
			for i, p := range places {
				if !p.of(item.Of) {
					continue
				}
				columns = append(columns, p.column)
				items = append(items, formula{p.column.Type, func(row []any) (any, error) { return row[i], nil }})
			}
			continue
		}
		f, err := e.compile(item.Expr, places)
		if err != nil {
			return nil, nil, err
		}
		columns = append(columns, tds.Column{Name: item.Alias, Type: f.kind})
		items = append(items, f)
	}
	return columns, items, nil
}

// sortKeys compiles ORDER BY: a place in the list, the name of a selected column, or an expression.
func (e *execution) sortKeys(s *tsql.Select, columns []tds.Column, items []formula, places []place) ([]formula, error) {
	var keys []formula
	for _, o := range s.Order {
		if o.Expr == nil {
			if o.Position < 1 || o.Position > len(items) {
				return nil, tsql.Errorf(108, 16, "The ORDER BY position number %d is out of range of the number of items in the select list.", o.Position)
			}
			keys = append(keys, items[o.Position-1])
			continue
		}
		if c, ok := o.Expr.(tsql.Column); ok && c.Qualifier == "" {
			at := slices.IndexFunc(columns, func(column tds.Column) bool { return strings.EqualFold(column.Name, c.Name) })
			if at >= 0 {
				keys = append(keys, items[at])
				continue
			}
		}
		key, err := e.compile(o.Expr, places)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

type sortedRow struct{ key, values []any }

// sortRows sorts by the keys; NULL comes first.
func sortRows(rows []sortedRow, order []tsql.Order) (err error) {
	slices.SortStableFunc(rows, func(a, b sortedRow) int {
		for i, o := range order {
			n := 0
			switch x, y := a.key[i], b.key[i]; {
			case x == nil && y == nil:
			case x == nil:
				n = -1
			case y == nil:
				n = 1
			default:
				var failed error
				if n, failed = compare(x, y); failed != nil {
					err = failed
				}
			}
			if o.Descending {
				n = -n
			}
			if n != 0 {
				return n
			}
		}
		return 0
	})
	return err
}

func (e *execution) top(x tsql.Expr, r *result) error {
	if x == nil {
		return nil
	}
	v, err := e.constant(x)
	if err != nil {
		return err
	}
	n, ok := v.(int64)
	if !ok || n < 0 {
		return tsql.Errorf(1060, 15, "The number of rows provided for a TOP or FETCH clauses row count parameter must be an integer.")
	}
	r.rows = r.rows[:min(int64(len(r.rows)), n)]
	return nil
}
