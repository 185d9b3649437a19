//! The SQL sanitiser: text and summary of queries as applications send them, 180 bytes in the mean.

use std::hint::black_box;

use sidelight_protocol_parsers::Text;
use sidelight_protocol_parsers::sql::{Dialect, digest};

use crate::Load;

/// Written by object-relational mappers, by hand, by tools; with literals and with placeholders.
const QUERIES: [&str; 11] = [
    "SELECT u.id, u.email, u.created_at FROM users u WHERE u.email = 'someone@example.org' AND u.deleted_at IS NULL LIMIT 1",
    "SELECT \"orders\".\"id\", \"orders\".\"customer_id\", \"orders\".\"state\", \"orders\".\"total\" FROM \"orders\" INNER JOIN \
     \"customers\" ON \"customers\".\"id\" = \"orders\".\"customer_id\" WHERE \"customers\".\"tenant_id\" = $1 AND \"orders\".\"state\" \
     IN ($2, $3) ORDER BY \"orders\".\"created_at\" DESC LIMIT 50",
    "INSERT INTO events (id, kind, payload, at) VALUES ('8d0f11ee-aad7-4c79-8ed8-e32063009a4d', 'login', \
     '{\"ip\":\"203.0.113.7\",\"agent\":\"Mozilla/5.0\"}', '2026-11-23 12:00:00.123456')",
    "UPDATE accounts SET balance = balance - 129.95, version = version + 1, updated_at = now() WHERE id = 4711 AND version = 17",
    "DELETE FROM sessions WHERE expires_at < '2026-11-23 12:00:00' AND user_id NOT IN (SELECT id FROM users WHERE keep = TRUE)",
    "SELECT c.name, count(*) AS n, sum(i.price * i.quantity) FROM customers c JOIN orders o ON o.customer_id = c.id JOIN items i \
     ON i.order_id = o.id WHERE o.created_at BETWEEN '2026-01-01' AND '2026-12-31' GROUP BY c.name HAVING count(*) > 10 ORDER BY \
     n DESC",
    "BEGIN",
    "SELECT p.id, p.title, p.slug, p.summary, p.published_at, a.id AS author_id, a.display_name, a.avatar_url, coalesce(s.views, \
     0) AS views FROM posts AS p LEFT OUTER JOIN authors AS a ON a.id = p.author_id LEFT OUTER JOIN statistics AS s ON s.post_id = \
     p.id WHERE p.published_at IS NOT NULL AND p.language = 'en' AND p.category_id IN (3, 7, 12, 31) ORDER BY p.published_at DESC, \
     p.id DESC LIMIT 20 OFFSET 40",
    "SELECT pg_catalog.set_config('search_path', '', false)",
    "WITH recent AS (SELECT id, customer_id FROM orders WHERE created_at > now() - interval '1 day') SELECT r.id, c.name FROM \
     recent r JOIN customers c ON c.id = r.customer_id WHERE c.country = 'NO' /*traceparent='00-0af7651916cd43dd8448eb211c80319c-\
     b7ad6b7169203331-01'*/",
    "INSERT INTO metrics (series, t, v) VALUES (1, 1700000000, 0.25), (2, 1700000000, 1.5), (3, 1700000000, -7e-3) ON CONFLICT DO \
     NOTHING",
];

/// The queries in both dialects, and rows of values.
///
/// # Panics
/// When the queries are longer or shorter than is said.
#[must_use]
pub fn loads() -> Vec<Load> {
    let bytes: usize = QUERIES.iter().map(|sql| sql.len()).sum();
    assert!((170..=190).contains(&(bytes / QUERIES.len())), "{} bytes in the mean", bytes / QUERIES.len());
    let queries = |name, dialect| Load::new(name, bytes, move || QUERIES.iter().for_each(|sql| sanitise(sql, dialect)));
    let values = format!("INSERT INTO t (a, b, c) VALUES {}", "(17, 'some text', 0.5), ".repeat(300));
    vec![
        queries("11 queries, postgresql", Dialect::Postgresql),
        queries("11 queries, mysql", Dialect::Mysql),
        Load::new("300 rows of values", values.len(), move || sanitise(&values, Dialect::Mysql)),
    ]
}

fn sanitise(sql: &str, dialect: Dialect) {
    let mut text = Text::default();
    let told = digest(black_box(sql.as_bytes()), dialect, true, &mut text);
    assert!(told.summary.is_some());
    black_box(text);
}
