//! Data for stdout.

use cofide_runtime::program;
use serde::Serialize;

use crate::args::Output;

pub(super) fn print(text: &str) -> anyhow::Result<()> {
    program::print(text).map_err(|error| anyhow::anyhow!(error))
}

/// Rows with columns of equal width, or the rows as JSON.
pub(super) fn rows<T: Serialize>(output: Output, header: &[&str], rows: &[T], cells: impl Fn(&T) -> Vec<String>) -> anyhow::Result<()> {
    match output {
        Output::Json => {
            let mut text = serde_json::to_string_pretty(rows)?;
            text.push('\n');
            print(&text)
        }
        Output::Table => {
            let lines: Vec<Vec<String>> =
                std::iter::once(header.iter().map(|title| (*title).to_owned()).collect()).chain(rows.iter().map(cells)).collect();
            print(&table(&lines))
        }
    }
}

fn table(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let line = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
        assert_eq!(table(&[line(&["ID", "PATH"]), line(&["1", "/a"]), line(&["long", ""])]), "ID    PATH\n1     /a\nlong\n");
    }
}
