//! Organizations.

use cofide_core::Organization;
use cofide_store::{Database, OrganizationFilter, Organizations, OrganizationsMut};

use crate::builders::id;
use crate::objects::{attempted, organization, taken, written};

pub(crate) async fn organizations_are_kept_and_have_unique_names<D: Database>(database: &D) {
    let other = Organization { id: id("org-2"), name: id("other") };
    written(database, async |write| {
        write.insert_organization(&other).await?;
        write.insert_organization(&organization()).await
    })
    .await;
    let mut read = database.begin_read().await.unwrap();
    assert_eq!(read.organization(&id("org")).await.unwrap(), Some(organization()));
    assert_eq!(read.organization(&id("nobody")).await.unwrap(), None);
    assert_eq!(read.organizations(&OrganizationFilter::default()).await.unwrap(), [organization(), other.clone()], "by name");
    assert_eq!(read.organizations(&OrganizationFilter { name: Some(id("other")) }).await.unwrap(), [other]);
    drop(read);
    let same_name = Organization { id: id("org-3"), name: id("default") };
    let refused = attempted(database, async |write| write.insert_organization(&same_name).await).await;
    assert_eq!(taken(refused), "organization with name \"default\"");
}
