//! The world that the tests share.

use cofide_testkit::kubernetes::World;
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Where the tests find the world.
#[derive(Default)]
pub(crate) struct Stage(OnceCell<RwLock<World>>);

impl Stage {
    /// Makes the world, before the first test.
    pub(crate) async fn set_up(&self) {
        self.0.get_or_init(async || RwLock::new(Box::pin(World::start()).await.unwrap())).await;
    }

    fn world(&self) -> &RwLock<World> {
        self.0.get().expect("it is set up before the tests")
    }

    /// For tests that leave what others use as it is.
    pub(crate) async fn together(&self) -> RwLockReadGuard<'_, World> {
        self.world().read().await
    }

    /// For tests that take something away from the others.
    pub(crate) async fn alone(&self) -> RwLockWriteGuard<'_, World> {
        self.world().write().await
    }
}
