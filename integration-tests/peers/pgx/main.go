// A client of PostgreSQL with pgx: pipelined batches, prepared statements by name, each mode of execution, errors, COPY. Says of
// each statement how it ended: `SELECT 00000`.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func said(text string, err error) {
	state := "00000"
	var failed *pgconn.PgError
	if errors.As(err, &failed) {
		state = failed.Code
	} else if err != nil {
		state = "-"
	}
	fmt.Println(strings.ToUpper(strings.Fields(text)[0]), state)
}

func main() {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, os.Args[1])
	if err != nil {
		panic(err)
	}
	defer conn.Close(ctx)
	run := func(text string, values ...any) {
		_, err := conn.Exec(ctx, text, values...)
		said(text, err)
	}
	run("drop table if exists pgx_item")
	run("create table pgx_item (id int primary key, name text)")
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe,
		pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		for id := 0; id < 20; id++ {
			run("insert into pgx_item values ($1, 'secret')", mode, int(mode)*100+id)
			run("select name from pgx_item where id = $1", mode, id)
		}
		run("insert into pgx_item values ($1, 'secret')", mode, int(mode)*100)
		run("select 1 / ($1::int - 1)", mode, 1)
	}
	for round := 0; round < 5; round++ {
		batch := &pgx.Batch{}
		for id := 0; id < 200; id++ {
			batch.Queue("select name from pgx_item where id = $1", id)
			batch.Queue("update pgx_item set name = $2 where id = $1", id, "secret")
		}
		results := conn.SendBatch(ctx, batch)
		for id := 0; id < 200; id++ {
			_, err := results.Exec()
			said("select", err)
			_, err = results.Exec()
			said("update", err)
		}
		if err := results.Close(); err != nil {
			panic(err)
		}
	}
	// One fails: what follows it is not executed.
	batch := &pgx.Batch{}
	batch.Queue("select 'secret'")
	batch.Queue("select 1 / (id - id) from pgx_item where id = $1", 100)
	batch.Queue("delete from pgx_item")
	results := conn.SendBatch(ctx, batch)
	_, err = results.Exec()
	said("select", err)
	_, err = results.Exec()
	said("select", err)
	said("delete", errors.New("not executed"))
	results.Close()
	rows := [][]any{{5001, "secret"}, {5002, "secret"}}
	_, err = conn.CopyFrom(ctx, pgx.Identifier{"pgx_item"}, []string{"id", "name"}, pgx.CopyFromRows(rows))
	said("copy", err)
	run("drop table pgx_item")
}
