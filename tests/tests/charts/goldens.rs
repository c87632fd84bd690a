//! What the charts render, to be read.

use crate::support::{CASES, Chart, helm};

#[tokio::test]
async fn helm_lint_finds_nothing_in_either_chart() {
    for (chart, values) in CASES {
        let (path, values) = (chart.path(), chart.values(values));
        let said = helm(&["lint", "--strict", path.to_str().unwrap(), "--values", values.to_str().unwrap()]).await.unwrap();
        assert!(!said.contains("[WARNING]") && !said.contains("[ERROR]"), "{said}");
    }
}

#[tokio::test]
async fn each_chart_renders_as_it_did_before() {
    for (chart, name) in CASES {
        let rendered = chart.render(&chart.values(name)).await.unwrap();
        insta::assert_snapshot!(format!("{chart}-{name}"), rendered);
    }
}

#[tokio::test]
async fn the_definition_comes_with_the_agent_and_with_nothing_else() {
    for chart in [Chart::Agent, Chart::Connect] {
        let values = chart.values("default");
        let with = chart.render_with(&values, &["--include-crds"]).await.unwrap();
        let definition = std::fs::read_to_string(Chart::Agent.path().join("crds/federatedservices.registry.cofide.io.yaml")).unwrap();
        assert_eq!(with.contains(definition.trim()), chart == Chart::Agent, "{chart}");
    }
}
