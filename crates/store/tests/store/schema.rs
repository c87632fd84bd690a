//! Both databases have the same tables with the same columns.

use std::collections::BTreeSet;

use cofide_store::Store;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection, Row};

use crate::postgres::Postgres;

/// Table, column, what it holds, and whether it may hold nothing.
type Columns = BTreeSet<(String, String, &'static str, bool)>;

async fn in_sqlite() -> Columns {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("connect.db");
    Store::open(&path).await.unwrap().close().await;
    let mut connection = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    let select = "SELECT tables.name AS \"table\", columns.name, columns.type, columns.\"notnull\" = 0 AS optional
        FROM sqlite_master AS tables, pragma_table_info(tables.name) AS columns
        WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite%' AND tables.name NOT LIKE '_sqlx%'";
    let rows = sqlx::query(select).fetch_all(&mut connection).await.unwrap();
    let columns = rows.iter().map(|row| {
        let holds = match row.get("type") {
            "TEXT" => "text",
            "INTEGER" => "number",
            "BLOB" => "bytes",
            other => panic!("{other} is new here"),
        };
        (row.get("table"), row.get("name"), holds, row.get("optional"))
    });
    columns.collect()
}

async fn in_postgres(url: &str) -> Columns {
    Store::connect(url.parse().unwrap()).await.unwrap().close().await;
    let mut connection = PgConnection::connect(url).await.unwrap();
    let select = "SELECT table_name::text, column_name::text, data_type::text, is_nullable = 'YES' AS optional, collation_name::text
        FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE '\\_sqlx%'";
    let rows = sqlx::query(select).fetch_all(&mut connection).await.unwrap();
    let columns = rows.iter().map(|row| {
        let (table, column): (String, String) = (row.get("table_name"), row.get("column_name"));
        let holds = match row.get("data_type") {
            "text" => {
                assert_eq!(row.get::<Option<&str>, _>("collation_name"), Some("C"), "{table}.{column} is not ordered as in SQLite");
                "text"
            }
            "bigint" | "boolean" => "number",
            "bytea" => "bytes",
            other => panic!("{table}.{column}: {other} is new here"),
        };
        (table, column, holds, row.get("optional"))
    });
    columns.collect()
}

mod postgres_server {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn both_databases_have_the_same_tables_and_columns() {
        let url = tokio::task::spawn_blocking(|| Postgres::shared().database()).await.unwrap();
        let (sqlite, postgres) = (in_sqlite().await, in_postgres(&url).await);
        assert!(sqlite.len() > 90, "{sqlite:?}");
        let only = |one: &Columns, other: &Columns| one.difference(other).cloned().collect::<Vec<_>>();
        assert_eq!((only(&sqlite, &postgres), only(&postgres, &sqlite)), (Vec::new(), Vec::new()), "in SQLite alone, in Postgres alone");
    }
}
