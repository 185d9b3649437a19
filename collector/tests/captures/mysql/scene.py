"""usage: scene.py PORT FILE: what the capture shows."""

import sys

import mysql.connector
import pymysql

PORT, FILE = int(sys.argv[1]), sys.argv[2]
options = {"host": "127.0.0.1", "port": PORT, "user": "root", "database": "shop", "ssl_disabled": True, "autocommit": True}

with pymysql.connect(local_infile=True, client_flag=pymysql.constants.CLIENT.MULTI_STATEMENTS, **options) as db:
    cursor = db.cursor()

    def fails(sql):
        try:
            cursor.execute(sql)
        except pymysql.MySQLError as error:
            print(error)

    cursor.execute("CREATE TABLE items (id INT PRIMARY KEY, name VARCHAR(200), price DECIMAL(9, 2))")
    cursor.execute("INSERT INTO items VALUES (1, 'apple', 1.5), (2, 'pear', 2.25), (3, 'plum', 0.75)")
    cursor.execute("SELECT id, name FROM items WHERE price > 1 /*traceparent='00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'*/")
    fails("INSERT INTO items VALUES (1, 'secret', 1)")
    fails("SELEC 1")
    fails("SELECT a FROM missing")
    cursor.execute("USE other")
    db.select_db("shop")
    db.ping(reconnect=False)
    cursor.execute("SELECT 1; SELECT 2, 3")
    with open(FILE, "w", encoding="ascii") as file:
        file.writelines(f"{100 + i},secret {i},1.5\n" for i in range(20))
    cursor.execute("LOAD DATA LOCAL INFILE %s INTO TABLE items FIELDS TERMINATED BY ','", (FILE,))
    cursor.execute("SELECT * FROM items")
    cursor.execute("DELETE FROM items WHERE id >= 100")

with mysql.connector.connect(use_pure=True, **options) as db:
    cursor = db.cursor(prepared=True)
    for number in (1, 2, 3):
        cursor.execute("SELECT name, price FROM items WHERE id = %s AND name <> %s", (number, "secret"))
        cursor.fetchall()
    cursor = db.cursor(prepared=True)
    try:
        cursor.execute("SELECT a FROM missing WHERE b = %s", (1,))
    except mysql.connector.Error as error:
        print(error)
