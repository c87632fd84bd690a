//! Which replica of Connect follows which agent.

use cofide_store::{AgentsMut, Database, Replicas, ReplicasMut};

use crate::builders::id;
use crate::objects::{two_zones, written};

pub(crate) async fn an_agent_is_followed_where_a_replica_says_so_for_as_long_as_it_is_there<D: Database>(database: &D) {
    two_zones(database).await;
    let (one, two) = (id("agent-one"), id("agent-two"));
    written(database, async |write| {
        assert!(write.put_replica("x").await? && write.put_replica("y").await?, "new");
        assert!(!write.put_replica("x").await?, "known");
        write.put_agent_stream("x", &one).await?;
        write.put_agent_stream("x", &one).await?;
        write.put_agent_stream("y", &one).await?;
        write.put_agent_stream("y", &two).await
    })
    .await;
    let elsewhere = async |replica: &str| {
        let found = database.begin_read().await.unwrap().agents_followed_elsewhere(replica).await.unwrap();
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(elsewhere("x").await, ["agent-one", "agent-two"]);
    assert_eq!(elsewhere("y").await, ["agent-one"]);
    assert_eq!(elsewhere("z").await, ["agent-one", "agent-two"]);
    written(database, async |write| {
        write.purge_replicas().await?;
        write.delete_agent_stream("y", &one).await?;
        write.delete_agent_stream("y", &one).await?;
        write.delete_replica("x").await
    })
    .await;
    assert_eq!(elsewhere("z").await, ["agent-two"], "nobody is purged who was there just now");
    written(database, async |write| write.delete_agent(&two).await).await;
    assert!(elsewhere("z").await.is_empty(), "with the agent its stream goes");
}
