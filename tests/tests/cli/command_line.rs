//! The command line itself: what needs no Connect, and the mistakes that are seen before one is asked.

use std::process::Stdio;

use crate::support::{Connect, DEADLINE, Person, program};

#[tokio::test]
async fn version_and_help_need_nothing() {
    let person = Person::new();
    let version = person.cofidectl("version").await.done();
    assert!(person.cofidectl("--version").await.done().stdout.starts_with("cofidectl "));
    let words: Vec<_> = version.stdout.split_whitespace().collect();
    assert!(matches!(words.as_slice(), ["cofidectl", _, platform] if platform.starts_with("(linux/")), "{version}");
    let built = person.cofidectl("version --build-info").await.done();
    assert!(built.stdout.starts_with(&version.stdout) && built.stdout.contains("architecture: "), "{built}");
    for line in ["help", "--help", "-h", "federation --help", "federation add --help", "help agent join-token create"] {
        let help = person.cofidectl(line).await.done();
        assert!(help.stdout.contains("Usage: cofidectl") && help.stderr.is_empty(), "{help}");
    }
}

/// Every command of every noun says what it is for, with an example.
#[tokio::test]
async fn every_command_has_help_with_an_example() {
    let person = Person::new();
    for line in [
        "trust-zone add",
        "trust-zone list",
        "trust-zone get",
        "trust-zone del",
        "cluster add",
        "cluster list",
        "cluster get",
        "cluster del",
        "federation add",
        "federation list",
        "federation del",
        "attestation-policy add static",
        "attestation-policy add kubernetes",
        "attestation-policy add tpm-node",
        "attestation-policy list",
        "attestation-policy get",
        "attestation-policy del",
        "attestation-policy-binding add",
        "attestation-policy-binding list",
        "attestation-policy-binding update",
        "attestation-policy-binding del",
        "apbinding list",
        "federated-service list",
        "federated-service get",
        "agent join-token create",
        "audit list",
        "version",
        "completion",
    ] {
        let help = person.cofidectl(&format!("{line} --help")).await.done();
        assert!(help.stdout.contains("Example:\n  cofidectl "), "{help}");
        for flag in ["--output", "--connect-url", "--config", "--credentials", "--log-level"] {
            assert!(help.stdout.contains(flag), "{flag} is not in\n{help}");
        }
    }
}

#[tokio::test]
async fn every_shell_has_a_completion_script() {
    let person = Person::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = person.cofidectl(&format!("completion {shell}")).await.done();
        assert!(script.stdout.contains("attestation-policy-binding") && script.stderr.is_empty(), "{shell}");
    }
    person.cofidectl("completion tcsh").await.refused(2, &["'tcsh'", "bash, elvish, fish, powershell, zsh"]);
}

#[tokio::test]
async fn bash_completes_nouns_verbs_and_flags() {
    let person = Person::new();
    let script = person.write("cofidectl.bash", &person.cofidectl("completion bash").await.done().stdout);
    for (words, expected) in [
        (&["cofidectl", "fed"][..], "federation"),
        (&["cofidectl", "federation", "a"], "add"),
        (&["cofidectl", "federation", "add", "--rem"], "--remote-trust-zone"),
        (&["cofidectl", "apbinding", "up"], "update"),
        (&["cofidectl", "trust-zone", "list", "--output", ""], "yaml"),
        (&["cofidectl", "cluster", "add", "--profile", ""], "host"),
        (&["cofidectl", "trust-zone", "add", "--bundle-endpoint-profile", ""], "https_web"),
    ] {
        // As an interactive bash calls it, with the cursor behind the last word.
        let ask = "source \"$0\"; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _cofidectl \"$1\" \"${@: -1}\" \"${@: -2:1}\"; echo \"${COMPREPLY[@]}\"";
        let mut bash = tokio::process::Command::new("bash");
        bash.args(["--norc", "-c", ask]).arg(&script).args(words).stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(DEADLINE, bash.output()).await.unwrap().unwrap();
        let offered = String::from_utf8(output.stdout).unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(offered.split_whitespace().any(|word| word == expected), "{words:?}: {offered}{complaint}");
    }
}

#[tokio::test]
async fn a_typo_is_exit_code_2_and_a_suggestion() {
    let connect = Connect::start().await;
    for (line, holds) in [
        ("trust-zon list", &["'trust-zon'", "'trust-zone'"][..]),
        ("trust-zone lst", &["'lst'", "'list'"]),
        ("trust-zone list --outptu json", &["'--outptu'", "'--output'"]),
        ("trust-zone list --output jsn", &["'jsn'", "'json'", "[possible values: table, json, yaml]"]),
        ("trust-zone list --log-level loud", &["valid levels: debug, warn, info, error"]),
        ("trust-zone get", &["<NAME>"]),
        ("trust-zone get one two", &["unexpected argument 'two'"]),
        ("apbinding add --trust-zone a", &["--attestation-policy <POLICY>"]),
    ] {
        connect.cofidectl(line).await.refused(2, holds);
    }
    for line in ["", "trust-zone", "agent join-token"] {
        let unfinished = connect.cofidectl(line).await;
        assert!(unfinished.code == 2 && unfinished.stderr.contains(format!("Usage: cofidectl {line}").trim_end()), "{unfinished}");
    }
}

#[tokio::test]
async fn the_usage_in_an_error_names_only_what_is_missing() {
    let person = Person::new().exporting("COFIDE_CREDENTIALS", "credential.json").exporting("COFIDE_OUTPUT", "json");
    let refused = person.cofidectl("cluster add one").await.refused(2, &["--trust-zone <ZONE>"]);
    assert!(refused.stderr.contains("\nUsage: cofidectl cluster add --trust-zone <ZONE> <NAME>\n"), "{refused}");
}

#[tokio::test]
async fn flags_win_over_the_environment_and_that_over_the_file() {
    let connect = Connect::start().await;
    connect.admin.write(".cofide/config.yaml", "output: json\n");
    let is_yaml = |text: &str| text.starts_with("- id: tz-");
    let is_json = |text: &str| text.starts_with("[\n");
    let list = connect.cofidectl("trust-zone list").await.done();
    assert!(is_json(&list.stdout), "{list}");
    connect.admin.write("other.yaml", "output: yaml\n");
    let named = connect.cofidectl("trust-zone list --config other.yaml").await.done();
    assert!(is_yaml(&named.stdout), "{named}");

    let credential = connect.credential().display().to_string();
    let person = Person::new().exporting("COFIDE_CREDENTIALS", credential).exporting("COFIDE_OUTPUT", "yaml");
    person.write("config.yaml", "output: json\n");
    let by_variable = person.cofidectl("trust-zone list --config config.yaml").await.done();
    assert!(is_yaml(&by_variable.stdout), "{by_variable}");
    let by_flag = person.cofidectl("trust-zone list --config config.yaml --output json").await.done();
    assert!(is_json(&by_flag.stdout), "{by_flag}");
}

#[tokio::test]
async fn a_configuration_that_is_wrong_is_named_with_its_key() {
    let connect = Connect::start().await;
    for (content, holds) in [
        ("ouput: json\n", &["ouput", "`output`", "connect_url"][..]),
        ("output: toml\n", &["output", "toml", "`json`"]),
        ("log_level: loud\n", &["loud", "debug, warn, info, error"]),
        ("- output\n", &["mapping"]),
        ("output: [\n", &["not valid YAML"]),
    ] {
        connect.admin.write("wrong.yaml", content);
        let outcome = connect.cofidectl("trust-zone list --config wrong.yaml").await;
        outcome.refused(1, &["wrong.yaml"]).refused(1, holds);
    }
    connect.cofidectl("trust-zone list --config missing.yaml").await.refused(1, &["missing.yaml", "--config"]);
    let person = Person::new().exporting("COFIDE_OUTPUT", "toml");
    person.cofidectl("version").await.refused(2, &["'toml'", "table, json, yaml"]);
}

#[tokio::test]
async fn a_variable_that_looks_misspelt_is_told_and_what_belongs_to_others_is_not() {
    let foreign = [("COFIDE_CONNECT_PORT", "tcp://10.96.0.7:8443"), ("COFIDE_AGENT_DNS_SERVICE_HOST", "10.96.0.8"), ("COFIDE_BIN", "/bin")];
    let person = foreign.iter().fold(Person::new(), |person, (name, value)| person.exporting(name, *value));
    let person = person.exporting("COFIDE_CREDENTAILS", "mine");
    let warnings = |stderr: &str| stderr.lines().filter(|line| line.starts_with("Warning: ")).map(str::to_owned).collect::<Vec<_>>();
    let told =
        |name: &str, meant: &str| format!("Warning: the environment variable {name} is not known and has no effect; did you mean {meant}?");

    let version = person.cofidectl("version").await.done();
    assert_eq!(warnings(&version.stderr), [told("COFIDE_CREDENTAILS", "COFIDE_CREDENTIALS")]);

    for (name, misspelt, meant) in [
        ("cofide-connect", "COFIDE_CONNECT_LISTEN_ADRESS", "COFIDE_CONNECT_LISTEN_ADDRESS"),
        ("cofide-agent", "COFIDE_AGENT_TRUST_DOMAIN", "TRUST_DOMAIN"),
        ("trust-zone-server", "TRUST_ZONE_SERVER_DATA_DIRECTORY", "TRUST_ZONE_SERVER_DATA_DIR"),
    ] {
        let mut command = tokio::process::Command::new(program(name));
        command.args(["config", "print"]).env_clear().envs(foreign).env("COFIDE_CONNECT_URL", "connect.test:8443");
        command.env("TRUST_ZONE_SERVER_TRUST_DOMAIN", "a.test").env(misspelt, "1");
        let output = command.output().await.unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{name}: {stderr}");
        assert_eq!(warnings(&stderr), [told(misspelt, meant)], "{name}");
    }

    // Also in the log of one that serves; this one ends by itself, for its port is taken.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = Connect::serve(&person.home().join("connect"));
    command.args(["--listen-address", &taken.local_addr().unwrap().to_string()]).env("COFIDE_CONNECT_MAX_CONECTIONS", "1");
    let log = String::from_utf8(Connect::output(command).await.stderr).unwrap();
    assert!(log.contains("did you mean COFIDE_CONNECT_MAX_CONNECTIONS?"), "{log}");
}
