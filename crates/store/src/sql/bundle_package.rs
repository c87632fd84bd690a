use async_trait::async_trait;
use cofide_core::{BundlePackageRecord, PinnedSigner, TrustZoneId};

use super::columns::Columns;
use super::connection::Row;
use super::statement::{Statement, write};
use super::transaction::{Transaction, WriteTransaction};
use crate::{BundlePackages, BundlePackagesMut, Result};

const NOUN: &str = "bundle package";

const PUT: &str = "INSERT INTO bundle_package (trust_zone_id, exported_sequence, signer_public_key, imported_sequence)
VALUES ($1, $2, $3, $4)
ON CONFLICT (trust_zone_id) DO UPDATE SET
    exported_sequence = excluded.exported_sequence, signer_public_key = excluded.signer_public_key,
    imported_sequence = excluded.imported_sequence";

fn record(row: &Row) -> Result<BundlePackageRecord> {
    let columns = Columns::of(NOUN, row);
    let number = |column| columns.converted(column, u64::try_from(columns.plain::<i64>(column)?));
    let sequence = number("imported_sequence")?;
    Ok(BundlePackageRecord {
        trust_zone_id: columns.parsed("trust_zone_id")?,
        exported_sequence: number("exported_sequence")?,
        signer: columns.plain::<Option<Vec<u8>>>("signer_public_key")?.map(|public_key| PinnedSigner { public_key, sequence }),
    })
}

#[async_trait]
impl<Access: Send> BundlePackages for Transaction<Access> {
    async fn bundle_package_record(&mut self, zone: &TrustZoneId) -> Result<Option<BundlePackageRecord>> {
        let select = Statement::new("SELECT * FROM bundle_package WHERE trust_zone_id = $1").bind(zone.as_str());
        select.row(self.connection()).await?.as_ref().map(record).transpose()
    }
}

#[async_trait]
impl BundlePackagesMut for WriteTransaction {
    async fn put_bundle_package_record(&mut self, record: &BundlePackageRecord) -> Result<()> {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let put = Statement::new(PUT)
            .bind(record.trust_zone_id.as_str())
            .bind(number(record.exported_sequence))
            .bind(record.signer.as_ref().map(|signer| signer.public_key.as_slice()))
            .bind(record.signer.as_ref().map_or(0, |signer| number(signer.sequence)));
        write(self.connection(), put, NOUN, record.trust_zone_id.as_str()).await?;
        Ok(())
    }
}
