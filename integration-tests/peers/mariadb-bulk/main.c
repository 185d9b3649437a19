/* A client of MariaDB with its Connector/C: prepared statements executed for arrays of values (COM_STMT_BULK_EXECUTE).

   mariadb-bulk PORT ROUNDS: inserts 100 rows, changes and removes them, and fails at a row that is there, ROUNDS times. */

#include <mysql.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 100 };

static void fail(const char *what, const char *why) {
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

static MYSQL_STMT *prepare(MYSQL *db, const char *text) {
    MYSQL_STMT *statement = mysql_stmt_init(db);
    unsigned rows = ROWS;
    if (mysql_stmt_prepare(statement, text, strlen(text))) fail(text, mysql_stmt_error(statement));
    mysql_stmt_attr_set(statement, STMT_ATTR_ARRAY_SIZE, &rows);
    return statement;
}

/* Executes it for all rows; it must end with `error`. */
static void execute(MYSQL_STMT *statement, MYSQL_BIND *values, unsigned error) {
    if (mysql_stmt_bind_param(statement, values)) fail("bind", mysql_stmt_error(statement));
    mysql_stmt_execute(statement);
    if (mysql_stmt_errno(statement) != error) fail("execute", mysql_stmt_error(statement));
}

int main(int count, char **words) {
    if (count != 3) fail(words[0], "PORT ROUNDS");
    MYSQL *db = mysql_init(NULL);
    if (!mysql_real_connect(db, "127.0.0.1", "app", "app-secret", "shop", atoi(words[1]), NULL, 0)) fail("connect", mysql_error(db));

    int ids[ROWS], there[ROWS];
    char *names[ROWS];
    unsigned long lengths[ROWS];
    for (int row = 0; row < ROWS; row++) {
        ids[row] = 1000 + row;
        there[row] = 1;
        names[row] = "bulk-secret";
        lengths[row] = strlen(names[row]);
    }
    MYSQL_BIND id = {.buffer_type = MYSQL_TYPE_LONG, .buffer = ids};
    MYSQL_BIND old = {.buffer_type = MYSQL_TYPE_LONG, .buffer = there};
    MYSQL_BIND name = {.buffer_type = MYSQL_TYPE_STRING, .buffer = names, .length = lengths};

    MYSQL_STMT *insert = prepare(db, "INSERT INTO items VALUES (?, ?, 1)");
    MYSQL_STMT *update = prepare(db, "UPDATE items SET name = ? WHERE id = ?");
    MYSQL_STMT *delete = prepare(db, "DELETE FROM items WHERE id = ?");
    for (int round = atoi(words[2]); round > 0; round--) {
        execute(insert, (MYSQL_BIND[]){id, name}, 0);
        execute(insert, (MYSQL_BIND[]){old, name}, 1062);
        execute(update, (MYSQL_BIND[]){name, id}, 0);
        execute(delete, &id, 0);
    }
    mysql_stmt_close(insert);
    mysql_stmt_close(update);
    mysql_stmt_close(delete);
    mysql_close(db);
    return 0;
}
