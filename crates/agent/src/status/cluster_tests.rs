use super::*;

#[test]
fn what_is_on_its_way_is_waited_for_while_others_arrive_and_not_for_ever() {
    let seconds = Duration::from_secs;
    let connected = |waited, idle| is_awaited(&Link::Connected, seconds(waited), seconds(idle));
    assert!(connected(60, 1), "it has its turn");
    assert!(!connected(60, 20), "nothing moves");
    assert!(!connected(120, 1), "the others may never come to an end");
    let disconnected = |waited| is_awaited(&Link::Disconnected(String::new()), waited, Duration::ZERO);
    assert!(disconnected(Duration::from_millis(999)) && !disconnected(seconds(1)));
}
