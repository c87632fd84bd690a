use clap::CommandFactory;

use super::*;

fn parse(line: &str) -> Result<Cli, String> {
    let words = std::iter::once("cofidectl").chain(line.split_whitespace());
    Cli::try_parse_from(words).map_err(|error| error.to_string())
}

/// Every command with its words, leaves and groups alike.
fn all_commands() -> Vec<(String, clap::Command)> {
    fn collect(prefix: &str, command: &clap::Command, found: &mut Vec<(String, clap::Command)>) {
        for child in command.get_subcommands().filter(|child| child.get_name() != "help") {
            let words = format!("{prefix} {}", child.get_name());
            found.push((words.clone(), child.clone()));
            collect(&words, child, found);
        }
    }
    let mut root = Cli::command().term_width(110);
    root.build();
    let mut found = vec![("cofidectl".to_owned(), root.clone())];
    collect("cofidectl", &root, &mut found);
    found
}

fn leaves() -> Vec<(String, clap::Command)> {
    all_commands().into_iter().filter(|(_, command)| !command.has_subcommands()).collect()
}

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

/// The global options are the same everywhere; one copy of them in the snapshot is enough.
fn without_global_options(page: &str) -> String {
    let (before, after) = page.split_once("\nGlobal options:\n").expect("every command has the global options");
    format!("{before}{}", after.split_once("\n\n").map(|(_, rest)| format!("\n{rest}")).unwrap_or_default())
}

#[test]
fn help_reads_as_it_should() {
    let pages = all_commands().into_iter().map(|(words, mut command)| {
        let page = command.render_help().to_string();
        let page = if words == "cofidectl" { page } else { without_global_options(&page) };
        format!("$ {words} --help\n{page}")
    });
    insta::assert_snapshot!(pages.collect::<Vec<_>>().join("\n"));
}

#[test]
fn every_command_has_an_example_that_is_valid() {
    for (words, command) in leaves() {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.lines().all(|line| line.len() < 80), "{words} has an example that a narrow terminal would break:\n{help}");
        let help = help.replace("\\\n", "");
        let examples: Vec<_> = help.lines().map(str::trim).filter(|line| line.starts_with("cofidectl ")).collect();
        assert!(!examples.is_empty(), "{words} has no example");
        for example in examples {
            assert!(example.starts_with(&words), "{example} is no example of {words}");
            let line = example.strip_prefix("cofidectl ").unwrap().split(['>', '|']).next().unwrap();
            parse(line).unwrap_or_else(|error| panic!("{example}\n{error}"));
        }
    }
}

#[test]
fn global_options_stand_before_or_after_the_command() {
    for line in ["--output json trust-zone list", "trust-zone --output json list", "trust-zone list -o json"] {
        assert_eq!(parse(line).unwrap().global.output, Some(Format::Json), "{line}");
    }
    assert_eq!(parse("trust-zone list --log-level DEBUG").unwrap().global.log_level.as_deref(), Some("debug"));
    let error = parse("trust-zone list --log-level loud").unwrap_err();
    assert!(error.contains("unexpected log level loud, valid levels: debug, warn, info, error"), "{error}");
}

#[test]
fn federations_take_the_older_names_of_their_flags() {
    for line in [
        "federation add --trust-zone a --remote-trust-zone b",
        "federation add --from a --to b",
        "federation add --from a --remote-trust-zone b",
    ] {
        let Command::Federation(federation::FederationCommand::Add(args)) = parse(line).unwrap().command else { panic!("{line}") };
        assert_eq!((args.trust_zone.as_str(), args.remote_trust_zone.as_str()), ("a", "b"), "{line}");
    }
    for line in ["federation add --from a --trust-zone a --to b", "federation add --trust-zone a", "federation del --remote-trust-zone b"] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn federates_with_can_be_repeated_or_separated_by_commas() {
    for line in [
        "attestation-policy-binding add --trust-zone a --attestation-policy p --federates-with b --federates-with c",
        "attestation-policy-binding add --trust-zone a --attestation-policy p --federates-with b,c",
        "apbinding add --trust-zone a --attestation-policy p --federates-with=b,c",
    ] {
        let Command::AttestationPolicyBinding(attestation_policy_binding::BindingCommand::Add(args)) = parse(line).unwrap().command else {
            panic!("{line}")
        };
        assert_eq!(args.federates_with, ["b", "c"], "{line}");
    }
}

#[test]
fn a_static_policy_is_read_with_its_selectors() {
    let line = "attestation-policy add static --name p --spiffe-id-path ns/demo --parent-id-path spire/agent \
                --selectors unix:path:/usr/bin/server,unix:uid:1000 --selectors k8s:ns:demo";
    let Command::AttestationPolicy(attestation_policy::AttestationPolicyCommand::Add(attestation_policy::AddCommand::Static(args))) =
        parse(line).unwrap().command
    else {
        panic!("{line}")
    };
    let selectors: Vec<_> = args.selectors.iter().map(|selector| (selector.kind.as_str(), selector.value.as_str())).collect();
    assert_eq!(selectors, [("unix", "path:/usr/bin/server"), ("unix", "uid:1000"), ("k8s", "ns:demo")]);
}

#[test]
fn bad_values_are_refused_with_a_reason_before_anything_is_sent() {
    for (line, expected) in [
        ("trust-zone add a --trust-domain A.test", "a trust domain contains 'A'"),
        ("trust-zone add -a --trust-domain a.test", "unexpected argument"),
        ("trust-zone add a/b --trust-domain a.test", "contains '/'"),
        ("trust-zone add a", "--trust-domain <DOMAIN>"),
        ("trust-zone add a --trust-domain a.test --bundle-endpoint-profile http", "[possible values: https_spiffe, https_web]"),
        ("cluster add c --trust-zone a --profile vm", "[possible values: istio, kubernetes, host]"),
        ("attestation-policy add static --name p --spiffe-id-path a --parent-id-path b", "--selectors <SELECTOR>"),
        ("attestation-policy add static --name p --spiffe-id-path a --parent-id-path b --selectors uid", "is not of the form type:value"),
        ("attestation-policy add kubernetes --name p --pod-label a=b=c", "is not the value of a label"),
        ("audit list --type zone", "types are written as in trust_zone_creation"),
        ("audit list --limit 0", "0 is not in 1..=1000"),
        ("audit list --since yesterday", "neither a time as in"),
        ("audit list --all --page-token x", "cannot be used with"),
        ("trustzone list", "a similar subcommand exists: 'trust-zone'"),
    ] {
        let error = parse(line).expect_err(line);
        assert!(error.contains(expected), "{line}\nexpected {expected}\nfound {error}");
    }
}

#[test]
fn an_option_that_a_variable_sets_is_not_shown_as_one_to_type() {
    let mistake = "Error: the following required arguments were not provided:\n  --trust-zone <ZONE>\n\n\
                   Usage: cofidectl cluster list --output <FORMAT> --trust-zone <ZONE> --credentials <FILE> <NAME>\n";
    let expected = "Error: the following required arguments were not provided:\n  --trust-zone <ZONE>\n\n\
                    Usage: cofidectl cluster list --trust-zone <ZONE> <NAME>\n";
    assert_eq!(super::without_variables(mistake), expected);
}

#[test]
fn the_page_lists_every_command() {
    let page = include_str!("../../../../docs/cofidectl.md");
    for (words, _) in leaves() {
        let words = words.strip_prefix("cofidectl ").unwrap();
        let (noun, verb) = words.split_once(' ').unwrap_or((words, words));
        let row = page.lines().find(|line| line.starts_with('|') && line.contains(&format!("`{noun}`")));
        assert!(row.is_some_and(|row| row.contains(&format!("`{verb}`"))), "{words} is not in the table of docs/cofidectl.md");
    }
}
