//! A data folder, a bootstrap file and a configuration that agree, or do not.

use std::time::SystemTime;

use cofide_core::Bundle;
use cofide_svid::authority::{X509CertificateAuthority, X509Settings};

use super::*;

/// Connect with an authority of its own for each call.
fn connect() -> ControlPlaneTrust {
    let spiffe_id = SpiffeId::new("spiffe://management.local/ns/connect/sa/cofide-connect-api").unwrap();
    let trust_domain = spiffe_id.trust_domain().clone();
    let authority = X509CertificateAuthority::create(trust_domain.clone(), X509Settings::default(), SystemTime::now()).unwrap();
    ControlPlaneTrust { bundle: Bundle { x509_authorities: authority.authorities(), ..Bundle::empty(trust_domain) }, spiffe_id }
}

fn bootstrap(cluster: &str, token: &str) -> Bootstrap {
    Bootstrap {
        connect_url: "127.0.0.1:8443".parse().unwrap(),
        connect: connect(),
        trust_zone_id: "tz-a".parse().unwrap(),
        trust_domain: TrustDomain::new("a.test").unwrap(),
        cluster_id: format!("id-of-{cluster}").parse().unwrap(),
        cluster_name: cluster.parse().unwrap(),
        agent_token: JoinTokenSecret::new(token.to_owned()),
    }
}

struct Place {
    folder: tempfile::TempDir,
    data: DataFolder,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = DataFolder::open(&folder.path().join("data")).unwrap();
        Self { folder, data }
    }

    fn settings(&self) -> JoinSettings {
        JoinSettings { bootstrap_file: Some(self.folder.path().join("bootstrap.yaml")), ..JoinSettings::default() }
    }

    fn put(&self, bootstrap: &Bootstrap) {
        bootstrap.write(self.settings().bootstrap_file.as_ref().unwrap()).unwrap();
    }

    fn load(&self) -> Result<Membership, MembershipError> {
        Membership::load(&self.settings(), &self.data)
    }
}

#[test]
fn an_agent_without_anything_is_told_what_it_needs() {
    let place = Place::new();
    let none = Membership::load(&JoinSettings::default(), &place.data).unwrap_err().to_string();
    assert!(none.contains("cofidectl agent join-token create") && none.contains("bootstrap_file"), "{none}");
    let missing = place.load().unwrap_err().to_string();
    assert!(missing.contains("bootstrap.yaml") && missing.contains("cofidectl agent join-token create"), "{missing}");
}

#[test]
fn a_token_is_used_once_and_the_file_is_not_needed_after_that() {
    let place = Place::new();
    place.put(&bootstrap("one", "token-1"));
    let mut membership = place.load().unwrap();
    assert_eq!(membership.bootstrap().unwrap().agent_token.expose(), "token-1");
    membership.joined(&place.data).unwrap();
    assert_eq!(place.load().unwrap(), membership);
    assert_eq!(membership.bootstrap(), None);
    std::fs::remove_file(place.settings().bootstrap_file.unwrap()).unwrap();
    assert_eq!(place.load().unwrap(), membership);
    let kept = std::fs::read_to_string(place.data.path().join("identity.state")).unwrap();
    assert!(!kept.contains("token-1"), "the token is of no more use and is not kept");
}

#[test]
fn what_was_learned_about_connect_outlives_an_old_bootstrap_file_and_yields_to_a_new_one() {
    let place = Place::new();
    place.put(&bootstrap("one", "token-1"));
    let mut membership = place.load().unwrap();
    membership.joined(&place.data).unwrap();
    let rotated = connect();
    membership.follow(&rotated, &place.data).unwrap();
    assert_eq!(place.load().unwrap().connect, rotated, "the file that was used says nothing new");

    let again = bootstrap("one", "token-2");
    place.put(&again);
    let renewed = place.load().unwrap();
    assert_eq!(renewed.connect, again.connect);
    assert_eq!(renewed.bootstrap().unwrap().agent_token.expose(), "token-2");
}

#[test]
fn a_data_folder_is_of_one_cluster() {
    let place = Place::new();
    place.put(&bootstrap("one", "token-1"));
    place.load().unwrap().joined(&place.data).unwrap();
    place.put(&bootstrap("two", "token-2"));
    let error = place.load().unwrap_err().to_string();
    assert!(error.contains("one") && error.contains("two") && error.contains("data folder"), "{error}");
}

#[test]
fn a_cluster_that_was_made_anew_in_connect_is_joined_with_the_data_folder_of_the_old_one() {
    let place = Place::new();
    place.put(&bootstrap("one", "token-1"));
    place.load().unwrap().joined(&place.data).unwrap();

    let anew = Bootstrap {
        cluster_id: "id-of-the-new-one".parse().unwrap(),
        trust_zone_id: "tz-new".parse().unwrap(),
        ..bootstrap("one", "token-2")
    };
    place.put(&anew);
    let mut membership = place.load().unwrap();
    assert_eq!(membership.bootstrap().as_ref(), Some(&anew), "it joins with all that the new file says");
    membership.joined(&place.data).unwrap();
    assert_eq!(place.load().unwrap(), membership);

    let elsewhere = Bootstrap { trust_domain: TrustDomain::new("other.test").unwrap(), ..anew };
    place.put(&elsewhere);
    let error = place.load().unwrap_err().to_string();
    assert!(error.contains("a.test") && error.contains("other.test"), "the same name in another trust domain is another cluster: {error}");
}

#[test]
fn the_configuration_may_repeat_but_not_contradict() {
    type Change = fn(&mut JoinSettings);
    let place = Place::new();
    place.put(&bootstrap("one", "token-1"));
    let with = |change: Change| {
        let mut settings = place.settings();
        change(&mut settings);
        Membership::load(&settings, &place.data)
    };
    assert!(with(|settings| settings.cluster_id = Some("id-of-one".parse().unwrap())).is_ok());
    let contradictions: [(&str, Change); 5] = [
        ("cluster_id", |settings| settings.cluster_id = Some("other".parse().unwrap())),
        ("cluster_name", |settings| settings.cluster_name = Some("other".parse().unwrap())),
        ("trust_zone_id", |settings| settings.trust_zone_id = Some("other".parse().unwrap())),
        ("trust_domain", |settings| settings.trust_domain = Some(TrustDomain::new("other.test").unwrap())),
        ("connect_trust_domain", |settings| settings.connect_trust_domain = Some(TrustDomain::new("other.test").unwrap())),
    ];
    for (key, change) in contradictions {
        let error = with(change).unwrap_err();
        assert!(matches!(&error, MembershipError::Contradiction { key: found, .. } if *found == key), "{key}: {error}");
    }
    let moved = with(|settings| settings.connect_url = Some("connect.example.com:443".parse().unwrap())).unwrap();
    assert_eq!(moved.connect_url.to_string(), "connect.example.com:443", "Connect may have moved");
    let token = with(|settings| settings.agent_token = Some("from-the-environment".into())).unwrap();
    assert_eq!(token.bootstrap().unwrap().agent_token.expose(), "from-the-environment");
}

#[test]
fn a_bootstrap_file_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    place.put(&bootstrap("one", "token-1"));
    let path = place.settings().bootstrap_file.unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = place.load().unwrap_err().to_string();
    assert!(error.contains("chmod 600") && !error.contains("token-1"), "{error}");
}

#[test]
fn a_bootstrap_file_of_another_kind_or_of_another_user_is_told_with_the_way_out() {
    let place = Place::new();
    let path = place.settings().bootstrap_file.unwrap();
    let refusal = || Membership::load(&place.settings(), &place.data).unwrap_err().to_string();
    cofide_runtime::files::write_atomic(&path, b"access_token: x\n", cofide_runtime::files::Mode::Secret).unwrap();
    let other_kind = refusal();
    assert!(other_kind.starts_with("bootstrap_file: ") && other_kind.contains("is not a bootstrap file"), "{other_kind}");
    assert!(other_kind.ends_with("name the file that `cofidectl agent join-token create --output-file` wrote"), "{other_kind}");

    let reason = cofide_connect_client::FileError::File(FileError::NotOwner { path: path.clone(), owner: 0, own: 1000 });
    let foreign = MembershipError::Bootstrap { reason, has_joined: true }.to_string();
    assert!(foreign.contains(&format!("chown 1000 {}", path.display())) && foreign.ends_with("needs none"), "{foreign}");
}
