//! The migrations of one database, in the program itself.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// Number, description and text of each. A number stands for the same schema in both databases.
pub(crate) fn migrator(migrations: &[(i64, &'static str, &'static str)]) -> Migrator {
    let migration = |(version, description, sql): &(i64, &'static str, &'static str)| {
        Migration::new(*version, (*description).into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(migrations.iter().map(migration).collect())
}

/// Fails where a folder of this crate holds another set of migrations.
#[cfg(test)]
pub(crate) fn assert_run(folder: &str, migrator: &Migrator) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    let run = migrator.iter().map(|migration| format!("{:04}_{}.sql", migration.version, migration.description.replace(' ', "_")));
    assert_eq!(run.collect::<Vec<_>>(), files);
}
