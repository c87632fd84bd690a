use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use super::*;

fn own_process() -> Process {
    let pid = i32::try_from(std::process::id()).unwrap();
    Process::open(pid, nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()).unwrap()
}

fn values(selectors: &BTreeSet<Selector>) -> Vec<&str> {
    assert!(selectors.iter().all(|selector| selector.kind == "unix"));
    selectors.iter().map(|selector| selector.value.as_str()).collect()
}

#[test]
fn a_process_is_known_by_its_owner_its_path_and_its_digest() {
    let executable = std::env::current_exe().unwrap().canonicalize().unwrap();
    let digest = hex::encode(Sha256::digest(std::fs::read(&executable).unwrap()));
    let attested = selectors(&own_process(), Some(&Arc::new(Digests::new(u64::MAX)))).unwrap();
    let values = values(&attested);
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    let user = User::from_uid(uid).unwrap().unwrap().name;
    let group = Group::from_gid(gid).unwrap().unwrap().name;
    for expected in [
        format!("uid:{uid}"),
        format!("gid:{gid}"),
        format!("user:{user}"),
        format!("group:{group}"),
        format!("path:{}", executable.display()),
        format!("sha256:{digest}"),
    ] {
        assert!(values.contains(&expected.as_str()), "{expected} is missing in {values:?}");
    }
    for gid in nix::unistd::getgroups().unwrap() {
        assert!(values.contains(&format!("supplementary_gid:{gid}").as_str()), "{values:?}");
    }
}

#[test]
fn a_digest_is_made_only_when_wanted() {
    let attested = selectors(&own_process(), None).unwrap();
    assert!(!values(&attested).iter().any(|value| value.starts_with(DIGEST_PREFIX)));
}

#[test]
fn a_process_that_has_ended_is_no_workload() {
    let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    let process = Process::open(pid, nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()).unwrap();
    process.check_alive().unwrap();
    drop(child.stdin.take());
    child.wait().unwrap();
    assert!(selectors(&process, None).is_err(), "the folder of a process that has gone answers nothing");
    assert!(Process::open(pid, 0, 0).is_err());
}

#[test]
fn a_pid_in_other_hands_is_refused() {
    let pid = i32::try_from(std::process::id()).unwrap();
    let gid = nix::unistd::getegid().as_raw();
    let error = Process::open(pid, nix::unistd::geteuid().as_raw() + 1, gid).unwrap_err().to_string();
    assert!(error.contains("who connected"), "{error}");
}
