//! The roles of the agent's chart beside the table of what its code asks for.

use std::collections::BTreeMap;

use cofide_agent::permissions::{PERMISSIONS, Scope};
use serde_json::Value;

use crate::support::{Chart, checkout, object};

/// (scope, group, resource) and the verbs.
type Rules = BTreeMap<(String, String, String), Vec<String>>;

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn rules_of(role: &Value) -> Rules {
    let mut rules = Rules::new();
    for rule in role["rules"].as_array().unwrap() {
        let scopes = match (role["kind"].as_str().unwrap(), texts(&rule["resourceNames"])) {
            ("ClusterRole", names) if names.is_empty() => vec!["everywhere".to_owned()],
            ("Role", names) if names.is_empty() => vec!["own namespace".to_owned()],
            (_, names) => {
                let whose = if role["metadata"]["namespace"] == "istio-system" { "object of the mesh" } else { "own object" };
                names.into_iter().map(|name| format!("{whose} {name}")).collect()
            }
        };
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for scope in &scopes {
                    let twice = rules.insert((scope.clone(), group.clone(), resource.clone()), texts(&rule["verbs"]));
                    assert!(twice.is_none(), "{group} {resource} stands in two rules");
                }
            }
        }
    }
    rules
}

#[tokio::test]
async fn the_roles_hold_exactly_what_the_agent_asks_for() {
    let granted = async |values: &str| {
        let objects = Chart::Agent.objects(&Chart::Agent.values(values)).await;
        let mut granted = rules_of(object(&objects, "ClusterRole", "cofide-agent"));
        let roles = objects.iter().filter(|object| object["kind"] == "Role");
        roles.for_each(|role| granted.extend(rules_of(role)));
        granted
    };
    let asked = PERMISSIONS.iter().map(|permission| {
        let scope = match permission.scope {
            Scope::Cluster => "everywhere".to_owned(),
            Scope::OwnNamespace => "own namespace".to_owned(),
            Scope::OwnObject(name) => format!("own object {name}"),
            Scope::MeshObject(name) => format!("object of the mesh {name}"),
        };
        let verbs = permission.verbs.iter().map(ToString::to_string).collect();
        ((scope, permission.group.to_owned(), permission.resource.to_owned()), verbs)
    });
    let asked: Rules = asked.collect();
    assert_eq!(granted("mesh").await, asked);
    let is_of_mesh = |scope: &str| scope.starts_with("object of the mesh");
    let without_mesh: Rules = asked.clone().into_iter().filter(|((scope, ..), _)| !is_of_mesh(scope)).collect();
    assert_eq!(granted("crd").await, without_mesh);
    // Whoever writes these gives out identities, so they come with the wish alone.
    let is_of_spire = |group: &str| group == "spire.spiffe.io";
    let without: Rules = without_mesh.into_iter().filter(|((_, group, _), _)| !is_of_spire(group)).collect();
    for values in ["default", "socket"] {
        assert_eq!(granted(values).await, without, "{values}");
    }
    // To look at the mesh is not to write its settings.
    let mut looking: Rules = asked.into_iter().filter(|((_, group, _), _)| !is_of_spire(group)).collect();
    looking.iter_mut().filter(|((scope, ..), _)| is_of_mesh(scope)).for_each(|(_, verbs)| verbs.retain(|verb| verb != "patch"));
    assert_eq!(granted("everything").await, looking);
}

#[test]
fn the_page_about_installing_lists_every_permission() {
    let page = std::fs::read_to_string(checkout().join("docs/kubernetes/install.md")).unwrap();
    let rows: Vec<_> = page
        .lines()
        .filter(|line| line.starts_with("| cluster |") || line.starts_with("| own namespace |") || line.starts_with("| mesh |"))
        .collect();
    for permission in PERMISSIONS {
        let (scope, name) = match permission.scope {
            Scope::Cluster => ("cluster", ""),
            Scope::OwnNamespace => ("own namespace", ""),
            Scope::OwnObject(name) => ("own namespace", name),
            Scope::MeshObject(name) => ("mesh", name),
        };
        let group = if permission.group.is_empty() { "core".to_owned() } else { format!("`{}`", permission.group) };
        let is_about = |row: &&&str| {
            let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
            let names_it = cells[2].contains(&format!("`{}`", permission.resource)) && (name.is_empty() != cells[2].contains(" named "));
            cells[0] == scope && cells[1] == group && names_it && cells[2].contains(name) && cells[3] == permission.verbs.join(", ")
        };
        assert_eq!(rows.iter().filter(is_about).count(), 1, "{permission:?}");
    }
}

#[tokio::test]
async fn connect_asks_nothing_of_kubernetes() {
    for object in Chart::Connect.objects(&Chart::Connect.values("everything")).await {
        assert!(!object["kind"].as_str().unwrap().contains("Role"), "{object:#}");
        if let Some(mounts) = object.get("automountServiceAccountToken") {
            assert_eq!(mounts, false);
        }
    }
}
