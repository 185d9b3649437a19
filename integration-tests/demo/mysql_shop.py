"""The MySQL scene's client on PyMySQL: each order is a transaction; every fifth fails.

usage: mysql_shop.py PORT ORDERS ERRORS
"""

import pathlib
import sys

import pymysql

PORT, ORDERS, ERRORS = sys.argv[1:]


def main():
    connection = pymysql.connect(host="127.0.0.1", port=int(PORT), user="root", database="shop")
    errors = []
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE orders (id int PRIMARY KEY, article varchar(40), price decimal(8, 2))")
        for number in range(int(ORDERS)):
            try:
                # the number of every fifth is taken
                cursor.execute("INSERT INTO orders VALUES (%s, %s, %s)", (number - (number % 5 == 4), f"article {number}", 9.99))
                connection.commit()
            except pymysql.err.IntegrityError as error:
                errors.append(f"ERROR {error.args[0]} in order {number}\n")
                connection.rollback()
            cursor.execute("SELECT count(*), sum(price) FROM orders WHERE article LIKE %s", ("article%",))
            cursor.fetchall()
    pathlib.Path(ERRORS).write_text("".join(errors), encoding="utf-8")


main()
