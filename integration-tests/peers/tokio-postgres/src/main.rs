//! A client of PostgreSQL with tokio-postgres: prepared statements, hundreds of them under way at once on one connection, errors
//! among them, transactions, the simple protocol, COPY. Says of each statement how it ended: `SELECT 00000`.

use futures_util::{SinkExt, TryStreamExt, future::join_all, pin_mut};
use tokio_postgres::{Error, NoTls};

/// Pairs of statements at once: Sidelight gives up a connection where more than 512 different ones wait.
const PIPELINED: i32 = 240;

/// Says it, and gives what was answered.
fn said<T>(word: &str, result: Result<T, Error>) -> Option<T> {
    let state = match &result {
        Ok(_) => "00000",
        Err(error) => error.code().map_or("-", |code| code.code()),
    };
    println!("{word} {state}");
    result.ok()
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let url = std::env::args().nth(1).expect("an address");
    let (mut client, connection) = tokio_postgres::connect(&url, NoTls).await?;
    let connection = tokio::spawn(connection);

    said("CREATE", client.batch_execute("create table tokio_item (id int primary key, name text)").await);
    let insert = client.prepare("insert into tokio_item values ($1, $2)").await?;
    let select = client.prepare("select name from tokio_item where id = $1").await?;
    let divide = client.prepare("select 1 / ($1::int % 10)").await?;

    for round in 0..3 {
        // Every tenth is there already, or divides by nothing: what stands behind it in the pipeline is executed all the same.
        let ids: Vec<i32> = (0..PIPELINED).map(|id| if id % 10 == 0 { 0 } else { round * PIPELINED + id }).collect();
        let all = join_all(ids.iter().map(async |id| client.execute(&insert, &[id, &"secret"]).await)).await;
        for one in all {
            said("INSERT", one);
        }
        let all = join_all(ids.iter().map(|id| async {
            let (found, divided) = tokio::join!(async { client.query(&select, &[id]).await }, async {
                client.query(&divide, &[id]).await
            },);
            (found, divided)
        }))
        .await;
        for (found, divided) in all {
            said("SELECT", found);
            said("SELECT", divided);
        }
    }

    let transaction = client.transaction().await;
    let transaction = said("START", transaction).expect("a transaction");
    said("UPDATE", transaction.execute("update tokio_item set name = 'secret' where id = $1", &[&1]).await);
    said("COMMIT", transaction.commit().await);

    let sink = client.copy_in("copy tokio_item from stdin").await?;
    pin_mut!(sink);
    let rows: String = (5000..6000).map(|id| format!("{id}\tsecret\n")).collect();
    sink.send(std::io::Cursor::new(rows.into_bytes())).await?;
    let copied = sink.finish().await;
    assert_eq!(said("COPY", copied), Some(1000));

    let rows = client.query_raw("select * from tokio_item where id >= $1", &[&5000]).await?;
    let rows: Result<Vec<_>, _> = rows.try_collect().await;
    assert_eq!(said("SELECT", rows).map(|rows| rows.len()), Some(1000));
    said("SELEC", client.simple_query("selec 'secret'").await);
    said("DROP", client.batch_execute("drop table tokio_item").await);

    // Statements are closed when they are dropped, by a message of their own.
    drop((insert, select, divide, client));
    connection.await.expect("its task ends")
}
