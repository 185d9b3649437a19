//! What each dialect adds, and what truncation does.

use Dialect::{Mysql, MysqlNoBackslash, Postgresql};

use super::*;

fn text(sql: &str, dialect: Dialect) -> String {
    told(sql, dialect).0
}

#[test]
fn postgresql_strings_in_every_notation_are_masked() {
    for (sql, expected) in [
        (r"SELECT E'it\'s', e'a\\', 'b'", "SELECT ?, ?, ?"),
        ("SELECT U&'d\\0061t', U&'\\', u&'x'", "SELECT ?, ?, ?"),
        ("SELECT B'101', X'1F', N'abc', b'1'", "SELECT ?, ?, ?, ?"),
        ("SELECT $$a'b$$, $q$a $$ b$q$, $1", "SELECT ?, ?, $1"),
        ("SELECT 'a'\n'b', DATE '2026-01-01', INTERVAL'1 day'", "SELECT ?\n?, DATE ?, INTERVAL?"),
        (r"SELECT 'a' LIKE 'a\_b' ESCAPE '\'", "SELECT ? LIKE ? ESCAPE ?"),
        ("SELECT '1'::int, ARRAY[1,2], a[1:2], 1_000, 0o17, 0b11", "SELECT ?::int, ARRAY[?,?], a[?:?], ?, ?, ?"),
        ("SELECT a->'k', b->>0, c#>'{a,1}', d ? 'k', e @> '{}'", "SELECT a->?, b->>?, c#>?, d ? ?, e @> ?"),
        ("SELECT \"a 'b\" FROM \"T 1\" -- 'c'", "SELECT \"a 'b\" FROM \"T 1\""),
        ("SELECT /* a /* b */ 'c' */ d", "SELECT  d"),
        ("SELECT a$b$ FROM t$1$", "SELECT a$b$ FROM t$1$"),
        ("SELECT 1$x$secret$x$", "SELECT ??"),
    ] {
        assert_eq!(text(sql, Postgresql), expected, "{sql}");
    }
}

#[test]
fn where_a_backslash_may_or_may_not_escape_the_rest_is_masked() {
    assert_eq!(text(r"SELECT 'a\', b, 'c\', d", Postgresql), "SELECT ?");
    assert_eq!(text(r"SELECT 'a\'' , 'b'", Postgresql), "SELECT ?");
    assert_eq!(text(r"SELECT 'a\\', b, 'c'", Postgresql), "SELECT ?, b, ?");
    assert_eq!(read(br"SELECT 'a\' secret", Postgresql, false).0, "SELECT ?");
}

#[test]
fn mysql_strings_in_every_notation_are_masked() {
    for (sql, expected) in [
        (r#"SELECT 'it\'s', "say \"a\"", "b""c", '\\', 'd'"#, "SELECT ?, ?, ?, ?, ?"),
        ("SELECT _utf8mb4'a', _binary\"b\", N'c', n'd'", "SELECT _utf8mb4?, _binary?, ?, ?"),
        ("SELECT x'4D', X'4D', 0x4D, b'101', 0b101", "SELECT ?, ?, ?, ?, ?"),
        ("SELECT DATE '2026-01-01', TIMESTAMP\"2026-01-01 00:00:00\"", "SELECT DATE ?, TIMESTAMP?"),
        ("SELECT a # 'b'\n, c -- 'd'\n, e--1, @f, @@g, @'h', \\N", "SELECT a \n, c \n, e-?, @f, @@g, @?, \\N"),
        ("SELECT `a 'b` FROM `T``1`", "SELECT `a 'b` FROM `T``1`"),
        ("SELECT 2fa_codes", "SELECT ?"),
        ("CREATE USER 'bob'@'%' IDENTIFIED BY 'hush'", "CREATE USER ?@? IDENTIFIED BY ?"),
        ("SET PASSWORD FOR 'bob'@'%' = PASSWORD('hush')", "SET PASSWORD FOR ?@? = PASSWORD(?)"),
    ] {
        assert_eq!(text(sql, Mysql), expected, "{sql}");
    }
}

#[test]
fn without_backslash_escapes_a_backslash_ends_nothing() {
    assert_eq!(text(r"SELECT 'a\', b, 'c'", MysqlNoBackslash), "SELECT ?, b, ?");
    assert_eq!(text(r"SELECT 'a\', b'", Mysql), "SELECT ?");
}

#[test]
fn executable_comments_are_read_if_they_end_the_same_for_all() {
    for (sql, expected) in [
        ("/*!40101 SET NAMES utf8 */", "SET NAMES utf8"),
        ("SELECT /*!80000 'a', */ b", "SELECT  ?,  b"),
        ("CREATE TABLE t (a int)/*!50100 PARTITION BY HASH(a) */", "CREATE TABLE t (a int) PARTITION BY HASH(a)"),
        ("SELECT /*M!100100 1, */ b", "SELECT  ?,  b"),
        ("SELECT /*+ MAX_EXECUTION_TIME(17) */ a", "SELECT  a"),
        ("SELECT /*! 'a */ b, 'c' */ d", "SELECT  ?"),
        ("SELECT /*! a -- b */ 'c'\n */ d", "SELECT  a ?"),
        ("SELECT /*! a /* b */ c */ d", "SELECT ?"),
    ] {
        assert_eq!(text(sql, Mysql), expected, "{sql}");
    }
    assert_eq!(told("/*!40101 SET NAMES utf8 */", Mysql).1, "SET");
}

#[test]
fn comments_do_not_glue_together_what_they_stood_between() {
    assert_eq!(text("SELECT/**/a/**//**/b/* */ c", Mysql), "SELECT a b c");
    assert_eq!(text("/* first */ SELECT 1 /* last */", Postgresql), "SELECT ?");
    assert_eq!(text("SELECT 1 /* never ends", Postgresql), "SELECT ?");
    assert_eq!(text("SELECT a ---- b", Mysql), "SELECT a --?");
}

#[test]
fn placeholders_and_constants_stay() {
    let sql = "SELECT $1, ?, :name, %s, @v, TRUE, false, NULL";
    assert_eq!(text(sql, Postgresql), sql);
    assert_eq!(text(sql, Mysql), sql);
}

#[test]
fn a_text_that_is_cut_ends_in_a_question_mark_and_tells_no_half_name() {
    for (sql, expected, summary) in [
        ("SELECT * FROM users WHERE a = 'b", "SELECT * FROM users WHERE a = ?", "SELECT users"),
        ("SELECT * FROM users WHERE a = 'b'", "SELECT * FROM users WHERE a = ?", "SELECT users"),
        ("SELECT * FROM users WHERE a = ", "SELECT * FROM users WHERE a = ?", "SELECT users"),
        ("SELECT * FROM users ", "SELECT * FROM users ?", "SELECT users"),
        ("SELECT * FROM us", "SELECT * FROM ?", "SELECT"),
        ("SELECT * FROM a.us", "SELECT * FROM ?", "SELECT"),
        ("SEL", "?", ""),
        ("", "?", ""),
        ("SELECT 1 /* never ends", "SELECT ? ?", "SELECT"),
    ] {
        for dialect in [Mysql, Postgresql] {
            assert_eq!(read(sql.as_bytes(), dialect, false), (expected.to_owned(), summary.to_owned()), "{sql}");
        }
    }
    assert_eq!(read(b"SELECT \"ab", Postgresql, false).0, "SELECT ?");
    assert_eq!(read(b"SELECT $12", Postgresql, false).0, "SELECT ?");
    assert_eq!(read("SELECT '\u{e9}".as_bytes().split_last().unwrap().1, Postgresql, false).0, "SELECT ?");
    assert_eq!(read("SELECT \u{e9}".as_bytes().split_last().unwrap().1, Postgresql, false).0, "SELECT ?");
}

#[test]
fn a_long_query_is_cut_at_a_word() {
    let long = format!("INSERT INTO t VALUES {}", "('secret', 17), ".repeat(1000));
    let (query, summary) = told(&long, Mysql);
    assert!(query.len() < super::super::MAX_QUERY && query.ends_with('?'), "{}", query.len());
    assert!(!query.contains("se") && summary == "INSERT t");
    let names = format!("SELECT {}", "column, ".repeat(2000));
    assert!(told(&names, Mysql).0.ends_with("column, ?"));
}

#[test]
fn bytes_that_are_no_utf8_are_replaced_and_never_unmask() {
    assert_eq!(read(b"SELECT '\xff\xfe', caf\xe9 FROM t", Mysql, true).0, "SELECT ?, caf\u{fffd} FROM t");
    // GBK: the second byte of the character is a backslash, or a backtick.
    assert_eq!(read(b"SELECT '\xd5\\', secret, 'x'", Mysql, true).0, "SELECT ?");
    assert_eq!(read(b"SELECT `\xd5`, 'secret`, x'", Mysql, true).0, "SELECT ?");
}

#[test]
fn text_and_summary_need_no_allocation_where_there_is_room() {
    let sql = b"SELECT a, 'b' FROM t JOIN u ON t.i = u.i WHERE c = 17";
    let mut text = Text::with_capacity(2 * sql.len() + 1);
    let room = text.capacity();
    digest(sql, Postgresql, true, &mut text);
    assert_eq!(text.capacity(), room);
}

#[test]
fn trace_context_of_one_comment_is_read() {
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let context = |sql: &str| {
        let mut text = Text::default();
        let digest = digest(sql.as_bytes(), Postgresql, true, &mut text);
        digest.context.map(|context| (context.flags, context.state.map(|span| text.str(span).to_owned())))
    };
    assert_eq!(context(&format!("SELECT 1 /*traceparent='{PARENT}'*/")), Some((1, None)));
    let stated = format!("/*db='x',traceparent='{PARENT}',tracestate='a%3Db'*/ SELECT 1");
    assert_eq!(context(&stated), Some((1, Some("a=b".to_owned()))));
    assert_eq!(context(&format!("/*traceparent='{PARENT}'*/ SELECT 1 /*traceparent='{PARENT}'*/")), None);
    assert_eq!(context(&format!("SELECT '/*traceparent=''{PARENT}''*/'")), None);
    assert_eq!(context(&format!("SELECT 1 -- traceparent='{PARENT}'")), None);
    assert_eq!(context("SELECT 1 /* a */"), None);
}

fn summary(sql: &str) -> String {
    let [mysql, postgresql] = [Mysql, Postgresql].map(|dialect| told(sql, dialect).1);
    assert_eq!(mysql, postgresql, "{sql}");
    mysql
}

#[test]
fn common_table_expressions_are_no_targets() {
    for (sql, expected) in [
        ("WITH w AS (SELECT * FROM a) SELECT * FROM w JOIN b ON 1=1", "SELECT a SELECT b"),
        ("WITH w (x, y) AS (SELECT 1, 2), v AS MATERIALIZED (SELECT * FROM W) SELECT * FROM v", "SELECT SELECT SELECT"),
        ("WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n+1 FROM t) SELECT n FROM t", "SELECT"),
        ("WITH old AS (DELETE FROM a RETURNING *) INSERT INTO b SELECT * FROM old", "DELETE a INSERT b SELECT"),
        ("WITH w AS (SELECT 1) UPDATE a SET x = 1 FROM w, b WHERE 1=1", "SELECT UPDATE a b"),
    ] {
        assert_eq!(summary(sql), expected, "{sql}");
    }
}

#[test]
fn from_means_a_table_only_where_it_does() {
    for (sql, expected) in [
        ("SELECT EXTRACT(YEAR FROM ts), SUBSTRING(a FROM 1 FOR 2), TRIM(BOTH FROM b) FROM t", "SELECT t"),
        ("SELECT a IS DISTINCT FROM b FROM t WHERE c IS NOT DISTINCT FROM d", "SELECT t"),
        ("SELECT * FROM (a JOIN b USING (i)), c LEFT JOIN (d, e) ON d.i = e.i WHERE x, y", "SELECT a b c d e"),
        ("SELECT * FROM a x, LATERAL (SELECT * FROM b) y, ONLY c ORDER BY p, q LIMIT 1, 2", "SELECT a SELECT b c"),
        (
            "SELECT * FROM a WHERE i IN (SELECT i FROM b WHERE j = (SELECT max(j) FROM c)) AND EXISTS (SELECT 1)",
            "SELECT a SELECT b SELECT c SELECT",
        ),
        ("SELECT * FROM generate_series(1, 10) g, t", "SELECT generate_series t"),
        ("SELECT * FROM (VALUES (1, 2)) v, t", "SELECT t"),
        ("SELECT * FROM a USE INDEX FOR JOIN (i), b", "SELECT a"),
        ("SELECT a FROM t FOR UPDATE OF t, u", "SELECT t"),
        ("(SELECT * FROM a) UNION ALL (SELECT * FROM b) EXCEPT SELECT * FROM c", "SELECT a b c"),
        ("SELECT * FROM $1, t", "SELECT t"),
    ] {
        assert_eq!(summary(sql), expected, "{sql}");
    }
}

#[test]
fn statements_of_every_kind_are_named() {
    for (sql, expected) in [
        ("DELETE FROM a WHERE i = 1", "DELETE a"),
        ("DELETE FROM a USING b JOIN c USING (i) WHERE 1=1", "DELETE a b c"),
        ("UPDATE ONLY a SET x = 1 FROM b WHERE a.i = b.i", "UPDATE a b"),
        ("UPDATE a JOIN b ON 1=1 SET x = 1, y = 2", "UPDATE a b"),
        ("UPDATE a, b SET x = 1", "UPDATE a b"),
        ("INSERT IGNORE INTO a (x) VALUES (1) ON DUPLICATE KEY UPDATE x = 2", "INSERT a"),
        ("INSERT INTO a VALUES (1) ON CONFLICT DO UPDATE SET x = 2 RETURNING *", "INSERT a"),
        ("REPLACE INTO a SET x = REPLACE('a', 'b', 'c')", "REPLACE a"),
        (
            "MERGE INTO a USING b ON a.i = b.i WHEN MATCHED THEN UPDATE SET x = 1 WHEN NOT MATCHED THEN INSERT VALUES (1)",
            "MERGE a b",
        ),
        ("MERGE INTO a USING (SELECT * FROM b) s ON 1=1 WHEN MATCHED THEN DELETE", "MERGE a SELECT b"),
        ("CALL app.do_it(1, 'a')", "CALL app.do_it"),
        ("EXPLAIN ANALYZE SELECT * FROM a", "EXPLAIN SELECT a"),
        ("EXPLAIN (ANALYZE, FORMAT JSON) UPDATE a SET x = 1", "EXPLAIN UPDATE a"),
        ("SET x = 1", "SET"),
        ("SET x = (SELECT max(i) FROM a)", "SET SELECT a"),
        ("START TRANSACTION READ ONLY", "START TRANSACTION"),
        ("BEGIN; UPDATE a SET x = 1; COMMIT", "BEGIN UPDATE a COMMIT"),
        ("ROLLBACK TO SAVEPOINT sp_17", "ROLLBACK"),
        ("SAVEPOINT sp_17", "SAVEPOINT"),
        ("TRUNCATE TABLE a, b", "TRUNCATE a b"),
        ("DROP TABLE IF EXISTS a, b CASCADE", "DROP TABLE a b"),
        ("DROP FUNCTION f(int, text), g(int)", "DROP FUNCTION f g"),
        ("LOCK TABLES a READ", "LOCK a"),
        ("ANALYZE VERBOSE a", "ANALYZE a"),
        ("VACUUM (FULL, ANALYZE) a", "VACUUM a"),
        ("COPY a (x, y) FROM STDIN", "COPY a"),
        ("COPY (SELECT * FROM a) TO STDOUT", "COPY SELECT a"),
        ("LOAD DATA LOCAL INFILE 'secret' REPLACE INTO TABLE a", "LOAD a"),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY v", "REFRESH v"),
        ("COMMENT ON TABLE a IS 'secret'", "COMMENT a"),
        ("PREPARE s AS SELECT * FROM a WHERE i = $1", "PREPARE SELECT a"),
        ("DECLARE c CURSOR FOR SELECT * FROM a", "DECLARE SELECT a"),
        ("EXECUTE s(1)", "EXECUTE"),
        ("GRANT SELECT, INSERT ON a TO bob", "GRANT"),
        ("SHOW COLUMNS FROM a", "SHOW"),
        ("USE shop", "USE shop"),
        ("VALUES (1, 2)", "VALUES"),
        ("DO $$ BEGIN DELETE FROM a; END $$", "DO"),
        (
            "CREATE OR REPLACE FUNCTION f() RETURNS int AS $$ SELECT 1 $$ LANGUAGE sql; SELECT * FROM a",
            "CREATE FUNCTION f SELECT a",
        ),
        ("CREATE INDEX CONCURRENTLY ON a (x)", "CREATE INDEX"),
        ("CREATE EVENT TRIGGER g ON ddl_command_start EXECUTE FUNCTION f()", "CREATE EVENT TRIGGER g"),
        ("SELECT * FROM a; ; DELETE FROM b;", "SELECT a DELETE b"),
        ("nonsense 17 'x' FROM a", ""),
    ] {
        assert_eq!(summary(sql), expected, "{sql}");
    }
}

#[test]
fn quoted_names_are_told_with_their_quotes() {
    assert_eq!(
        told("SELECT * FROM \"My Schema\".\"T\" JOIN public.\"U\" ON 1=1", Postgresql).1,
        "SELECT \"My Schema\".\"T\" public.\"U\""
    );
    assert_eq!(told("INSERT INTO `db`.`t 1` VALUES (1)", Mysql).1, "INSERT `db`.`t 1`");
    assert_eq!(told("SELECT * FROM \"a\", 'b', c", Mysql).1, "SELECT c");
    let sql = "CREATE DEFINER=`root`@`%` PROCEDURE `p`() BEGIN DELETE FROM a; SELECT 1; END";
    assert_eq!(told(sql, Mysql).1, "CREATE PROCEDURE `p`");
}
