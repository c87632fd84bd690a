//! Secrets of the control plane.

use cofide_store::{ControlPlaneSecrets, ControlPlaneSecretsMut, Database};

use crate::objects::written;

pub(crate) async fn secrets_of_the_control_plane_are_kept_by_name<D: Database>(database: &D) {
    for (name, content) in [("one", "first"), ("two", "other"), ("one", "second")] {
        written(database, async |write| write.put_control_plane_secret(name, content).await).await;
    }
    let mut read = database.begin_read().await.unwrap();
    assert_eq!(read.control_plane_secret("one").await.unwrap().as_deref(), Some("second"));
    assert_eq!(read.control_plane_secret("two").await.unwrap().as_deref(), Some("other"));
    assert_eq!(read.control_plane_secret("three").await.unwrap(), None);
}
