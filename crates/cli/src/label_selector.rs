//! Label selectors as kubectl takes them: `app=server,tier in (front,back),!legacy`.

use cofide_core::{LabelSelector, MatchExpression};

/// Reads a selector (Kubernetes, "labels and selectors"). Equality becomes a match label, everything else an expression.
pub fn parse(text: &str) -> Result<LabelSelector, String> {
    let mut selector = LabelSelector::default();
    for requirement in split(text) {
        requirement_into(&mut selector, requirement.trim())?;
    }
    Ok(selector)
}

/// At the commas that are not within parentheses.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    text.split(|c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
    .collect()
}

fn requirement_into(selector: &mut LabelSelector, text: &str) -> Result<(), String> {
    let mut expression = |key: &str, operator: &str, values: Vec<String>| -> Result<(), String> {
        selector.match_expressions.push(MatchExpression { key: label_key(key)?, operator: operator.into(), values });
        Ok(())
    };
    if let Some((key, value)) = text.split_once("!=") {
        return expression(key, "NotIn", vec![label_value(value)?]);
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        let (key, value) = (label_key(key)?, label_value(value)?);
        return match selector.match_labels.insert(key.clone(), value) {
            Some(_) => Err(format!("label {key} is given twice")),
            None => Ok(()),
        };
    }
    if let Some((head, values)) = text.strip_suffix(')').and_then(|text| text.split_once('(')) {
        let values = values.split(',').map(label_value).collect::<Result<Vec<_>, _>>()?;
        return match head.trim().rsplit_once(char::is_whitespace) {
            Some((key, "in")) => expression(key, "In", values),
            Some((key, "notin")) => expression(key, "NotIn", values),
            _ => Err(format!("{text:?} is not a requirement on a label; write it as in tier in (front,back)")),
        };
    }
    match text.strip_prefix('!') {
        Some(key) => expression(key, "DoesNotExist", Vec::new()),
        None => expression(text, "Exists", Vec::new()),
    }
}

fn label_key(text: &str) -> Result<String, String> {
    let key = text.trim();
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    if key.is_empty() || !key.chars().all(allowed) {
        return Err(format!("{key:?} is not the key of a label"));
    }
    Ok(key.to_owned())
}

fn label_value(text: &str) -> Result<String, String> {
    let value = text.trim();
    if value.len() > 63 || !value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) {
        return Err(format!("{value:?} is not the value of a label"));
    }
    Ok(value.to_owned())
}

/// In the form that [`parse`] reads.
pub fn format(selector: &LabelSelector) -> String {
    let labels = selector.match_labels.iter().map(|(key, value)| format!("{key}={value}"));
    let expressions = selector.match_expressions.iter().map(|expression| match expression.operator.as_str() {
        "Exists" => expression.key.clone(),
        "DoesNotExist" => format!("!{}", expression.key),
        operator => format!("{} {} ({})", expression.key, operator.to_lowercase(), expression.values.join(",")),
    });
    labels.chain(expressions).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_printed_as_it_can_be_read_again() {
        for (text, printed) in [
            ("app=server", "app=server"),
            ("app == server, tier != front", "app=server,tier notin (front)"),
            ("tier in (front, back),env notin (x)", "tier in (front,back),env notin (x)"),
            ("app,!legacy", "app,!legacy"),
            ("kubernetes.io/metadata.name=demo", "kubernetes.io/metadata.name=demo"),
            ("app=", "app="),
        ] {
            let selector = parse(text).unwrap();
            assert_eq!(format(&selector), printed);
            assert_eq!(parse(printed).unwrap(), selector);
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for bad in ["", "a b", "a=b=c", "a=b,", "in (x)", "a within (x)", "a=b,a=c", "é=x", "a in (x y)"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
