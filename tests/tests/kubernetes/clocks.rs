//! Machines whose clocks do not agree.

use std::time::Instant;

use anyhow::ensure;

use crate::outages::{HAND_OVER, leader};
use crate::support::{Server, Speaks, World, attempts, federated_service};

const FIVE_MINUTES: i64 = 300;

pub(crate) async fn an_agent_whose_clock_is_five_minutes_off_joins_leads_and_gives_way(world: &mut World) {
    // As fresh as certificates can be: of one that is older, a clock that is behind says nothing.
    world.plane.stop_connect().await.unwrap();
    world.plane.start_connect().await.unwrap();
    for (pod, offset) in [("behind", -FIVE_MINUTES), ("ahead", FIVE_MINUTES)] {
        world.client.agent_mut().kill();
        let mut agent = world.client.agent_without_memory(&world.lab, &world.plane, pod).await.unwrap();
        agent.set_clock_off(offset).unwrap();
        agent.start().unwrap();
        let said = attempts(HAND_OVER * 2, async || {
            let leader = leader(&world.client).await?;
            ensure!(leader.starts_with(pod), "{leader} leads");
            ensure!(agent.log().contains("joined"), "it has not joined");
            Ok(())
        });
        said.await.unwrap_or_else(|error| panic!("{pod}: {error}\n{}", agent.log()));
        let seconds = agent.seconds_of_its_log().unwrap() - k8s_openapi::jiff::Timestamp::now().as_second();
        assert!((seconds - offset).abs() < FIVE_MINUTES / 2, "its clock is {seconds} s ahead, not {offset} s");

        let _server = Server::start(&world.lab, &world.client, pod, "server", 8443, Speaks::Mtls(&["other2.domain"])).await.unwrap();
        let mut service = federated_service(pod, "server", "server", 8443, "Mtls");
        service["spec"]["exportedTrustDomains"] = serde_json::json!(["other2.domain"]);
        world.client.cluster.apply(&service).await.unwrap();
        let name = format!("server.{pod}.other1.domain:8443");
        let reached = async || world.outside.ping_mtls(&world.plain, &name, "other1.domain").await;
        world.until(&format!("what the agent that is {pod} exports is reached"), reached).await;

        // The clock of the next leader is right, and it neither waits longer for the other one nor takes anything from it early.
        world.client.agent_mut().start().unwrap();
        let held = leader(&world.client).await.unwrap();
        assert!(held.starts_with(pod), "{held} leads");
        agent.kill();
        let start = Instant::now();
        let taken = attempts(HAND_OVER, async || {
            let leader = leader(&world.client).await?;
            ensure!(leader.starts_with("agent-0"), "{leader} leads");
            Ok(())
        });
        taken.await.unwrap_or_else(|error| panic!("{pod}: {error}\n{}", world.client.agent().log()));
        assert!(start.elapsed() < HAND_OVER);
        world.until("it is still reached", reached).await;
        world.client.cluster.delete_yaml(&service.to_string()).await.unwrap();
    }
}
