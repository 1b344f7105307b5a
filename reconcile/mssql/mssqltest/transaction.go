package mssqltest

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest/internal/tds"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest/internal/tsql"
)

var lastTransaction atomic.Uint64

// transact does what a driver asks of the transaction manager, which is what the statements do that are named so.
func (s *session) transact(ctx context.Context, request tds.TransactionRequest, answer *tds.Response) error {
	do := func(kind string, f func(*tds.Response) error) error {
		return s.faulty(ctx, kind, func() error { return f(answer) })
	}
	var err error
	switch request {
	case tds.TransactionBegin:
		err = do(tsql.Begin{}.Kind(), s.beginTransaction)
	case tds.TransactionCommit:
		err = do(tsql.Commit{}.Kind(), s.commitTransaction)
	case tds.TransactionRollback:
		err = do(tsql.Rollback{}.Kind(), s.rollbackTransaction)
	default:
		err = tsql.Errorf(8009, 16, "Transaction manager request %d is not served.", request)
	}
	var refused *tsql.Error
	if errors.As(err, &refused) {
		answer.Notice(s.server.notice(refused))
		err = nil
	}
	answer.Done(refused != nil)
	return err
}

func (s *session) beginTransaction(answer *tds.Response) error {
	if s.tx == nil {
		s.setTransaction(&transaction{id: lastTransaction.Add(1)})
		answer.Began(s.tx.id)
	}
	s.tx.depth++
	return nil
}

// commitTransaction commits the outermost transaction; inner ones only count.
func (s *session) commitTransaction(answer *tds.Response) error {
	if s.tx == nil {
		return tsql.Errorf(3902, 16, "The COMMIT TRANSACTION request has no corresponding BEGIN TRANSACTION.")
	}
	if s.tx.depth--; s.tx.depth > 0 {
		return nil
	}
	tx := s.tx
	s.setTransaction(nil)
	if tx.change != nil {
		if err := tx.change.commit(); err != nil {
			return err
		}
	}
	answer.Committed(tx.id)
	return nil
}

func (s *session) rollbackTransaction(answer *tds.Response) error {
	if s.tx == nil {
		return tsql.Errorf(3903, 16, "The ROLLBACK TRANSACTION request has no corresponding BEGIN TRANSACTION.")
	}
	answer.RolledBack(s.tx.id)
	s.rollback()
	return nil
}

// rollback undoes the open transaction, if there is one.
func (s *session) rollback() {
	if s.tx == nil {
		return
	}
	if s.tx.change != nil {
		s.tx.change.abandon()
	}
	s.setTransaction(nil)
}

func (s *session) setTransaction(tx *transaction) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tx, s.inTx = tx, tx != nil
}

// update changes the catalog, in the open transaction or in one of its own. Where f fails, nothing has changed.
func (s *session) update(ctx context.Context, f func(*change) error) error {
	if s.tx == nil {
		c, err := s.master.begin(ctx)
		if err != nil {
			return err
		}
		if err := f(c); err != nil {
			c.abandon()
			return err
		}
		return c.commit()
	}
	if s.tx.change == nil {
		c, err := s.master.begin(ctx)
		if err != nil {
			return err
		}
		s.tx.change = c
	}
	attempt := &change{catalog: s.tx.change.catalog.clone()}
	if err := f(attempt); err != nil {
		return err
	}
	s.tx.change.catalog = attempt.catalog
	s.tx.change.committed = append(s.tx.change.committed, attempt.committed...)
	return nil
}
