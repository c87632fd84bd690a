use async_trait::async_trait;
use cofide_core::BundleReading;

use super::columns::Columns;
use super::connection::Row;
use super::documents::{HeldBundleDocument, held_bundles};
use super::statement::{Select, Statement, document, write};
use super::transaction::{Transaction, WriteTransaction};
use crate::{BundleReadingFilter, BundleReadings, BundleReadingsMut, Result};

const NOUN: &str = "bundle reading";

const PUT: &str = "INSERT INTO bundle_reading (cluster_id, read_at, bundles_document) VALUES ($1, $2, $3)
ON CONFLICT (cluster_id) DO UPDATE SET read_at = excluded.read_at, bundles_document = excluded.bundles_document";

fn reading(row: &Row) -> Result<BundleReading> {
    let columns = Columns::of(NOUN, row);
    let bundles: Vec<HeldBundleDocument> = columns.document("bundles_document")?;
    Ok(BundleReading {
        cluster_id: columns.parsed("cluster_id")?,
        read_at: columns.timestamp("read_at")?,
        bundles: columns.converted("bundles_document", held_bundles(bundles))?,
    })
}

#[async_trait]
impl<Access: Send> BundleReadings for Transaction<Access> {
    async fn bundle_readings(&mut self, filter: &BundleReadingFilter) -> Result<Vec<BundleReading>> {
        let mut select = Select::new("SELECT * FROM bundle_reading").equal("cluster_id", filter.cluster_id.as_ref());
        if let Some(zone) = &filter.trust_zone_id {
            let condition = select.and().push("cluster_id IN (SELECT id FROM cluster WHERE trust_zone_id = ");
            condition.push_bind(zone.as_str()).push(")");
        }
        select.then(" ORDER BY cluster_id").rows(self.connection()).await?.iter().map(reading).collect()
    }
}

#[async_trait]
impl BundleReadingsMut for WriteTransaction {
    async fn put_bundle_reading(&mut self, reading: &BundleReading) -> Result<()> {
        let bundles: Vec<_> = reading.bundles.iter().map(HeldBundleDocument::from).collect();
        let put = Statement::new(PUT).bind(reading.cluster_id.as_str()).bind(reading.read_at.as_micros()).bind(document(&bundles));
        write(self.connection(), put, NOUN, reading.cluster_id.as_str()).await?;
        Ok(())
    }
}
