// A pool of go-sql-driver: workers that share connections, with prepared statements, interpolated ones, transactions and errors.
//
// usage: mysql-go DSN ROUNDS
package main

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"

	"github.com/go-sql-driver/mysql"
)

const workers = 8

func main() {
	rounds, err := strconv.Atoi(os.Args[2])
	check(err)
	db, err := sql.Open("mysql", os.Args[1])
	check(err)
	db.SetMaxOpenConns(4)
	db.SetMaxIdleConns(4)
	shared, err := db.Prepare("SELECT id, name, price FROM items WHERE id = ?")
	check(err)
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			for round := range rounds {
				work(db, shared, worker*rounds+round)
			}
		})
	}
	group.Wait()
	check(shared.Close())
	check(db.Close())
}

func work(db *sql.DB, shared *sql.Stmt, number int) {
	var id int
	var name, price string
	check(shared.QueryRow(number%3+1).Scan(&id, &name, &price))
	// Prepared, executed and closed by the driver.
	_, err := db.Exec("UPDATE items SET price = price + ? WHERE id = ?", 1, number%3+1)
	check(err)
	if number%10 == 0 {
		_, err := db.Exec("INSERT INTO items VALUES (1, 'dup', 1)")
		var failed *mysql.MySQLError
		if !errors.As(err, &failed) || failed.Number != 1062 {
			check(fmt.Errorf("not a duplicate: %w", err))
		}
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
