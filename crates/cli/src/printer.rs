//! Data goes to stdout, as a table, JSON or YAML, all from one view; everything else goes to stderr.

use std::io::Write;

use clap::ValueEnum;
use comfy_table::{ContentLineStyle, LineStyle, TableStyle};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, printable};

// Without a comment on each, so that the help stays short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    #[default]
    Table,
    Json,
    Yaml,
}

/// What a command shows. JSON and YAML are its serialised form, so whatever a table says they say too.
pub trait View: Serialize {
    fn tables(&self) -> Vec<Table>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub title: Option<&'static str>,
    pub header: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(header: impl Into<Vec<&'static str>>) -> Self {
        Self { title: None, header: header.into(), rows: Vec::new() }
    }

    /// Of one object: a field and its value in each row.
    pub fn of_fields(fields: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        Self::new(["Field", "Value"]).rows(fields.into_iter().map(|(field, value)| vec![field.to_owned(), value]))
    }

    #[must_use]
    pub fn rows(mut self, rows: impl IntoIterator<Item = Vec<String>>) -> Self {
        self.rows = rows.into_iter().collect();
        self
    }

    #[must_use]
    pub fn title(mut self, title: &'static str) -> Self {
        self.title = Some(title);
        self
    }

    /// Columns are separated by ` | ` and nothing else is drawn but a rule below the header: scripts look for cells by
    /// that. Without rows there is nothing at all.
    fn render(&self) -> Option<String> {
        const STYLE: TableStyle = TableStyle::new()
            .header_lines(ContentLineStyle::none().junction('|'))
            .header_separator(LineStyle::none().fill('-').junction('+'))
            .content_lines(ContentLineStyle::none().junction('|'));
        if self.rows.is_empty() {
            return None;
        }
        let mut table = comfy_table::Table::new();
        table.load_style(STYLE);
        table.set_header(self.header.iter().map(|name| name.to_uppercase()));
        table.add_rows(self.rows.iter().map(|row| row.iter().map(|cell| printable(cell))));
        let title = self.title.map(|title| format!("{title}\n\n")).unwrap_or_default();
        Some(format!("{title}{table}\n"))
    }
}

/// The two outputs of the program.
pub struct Printer<'a> {
    pub format: Format,
    pub stdout: &'a mut dyn Write,
    pub stderr: &'a mut dyn Write,
}

impl Printer<'_> {
    pub fn show(&mut self, view: &impl View) -> Result<()> {
        let text = match self.format {
            Format::Table => view.tables().iter().filter_map(Table::render).collect::<Vec<_>>().join("\n"),
            Format::Json => serde_json::to_string_pretty(view).map_err(|error| unprintable(&error))? + "\n",
            Format::Yaml => serde_saphyr::to_string(view).map_err(|error| unprintable(&error))?,
        };
        self.data(&text)
    }

    /// What was made: for people a sentence on stderr, for programs the object on stdout.
    pub fn done(&mut self, sentence: &str, view: &impl View) -> Result<()> {
        match self.format {
            Format::Table => self.say(sentence),
            Format::Json | Format::Yaml => self.show(view),
        }
    }

    pub fn data(&mut self, text: &str) -> Result<()> {
        self.stdout.write_all(text.as_bytes())?;
        Ok(self.stdout.flush()?)
    }

    /// A remark that is no data. That nobody can read it is no reason to fail.
    pub fn say(&mut self, sentence: &str) -> Result<()> {
        let _ = writeln!(self.stderr, "{}", printable(sentence));
        Ok(())
    }
}

fn unprintable(error: &dyn std::fmt::Display) -> Error {
    Error::failed(format!("cannot write the output: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Zones(Vec<(&'static str, &'static str)>);

    impl View for Zones {
        fn tables(&self) -> Vec<Table> {
            let rows = || self.0.iter().map(|(name, domain)| vec![(*name).to_owned(), (*domain).to_owned()]);
            vec![Table::new(["Name", "Trust Domain"]).rows(rows()), Table::new(["Name", "Trust Domain"]).title("Again").rows(rows())]
        }
    }

    fn shown(format: Format, view: &Zones) -> String {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        Printer { format, stdout: &mut stdout, stderr: &mut stderr }.show(view).unwrap();
        assert!(stderr.is_empty());
        String::from_utf8(stdout).unwrap()
    }

    #[test]
    fn a_table_is_cells_between_bars_below_a_rule() {
        let zones = Zones(vec![("a", "a.test"), ("trust-zone-b", "two\nlines")]);
        insta::assert_snapshot!(shown(Format::Table, &zones));
    }

    #[test]
    fn a_table_without_rows_prints_nothing_and_a_list_without_elements_prints_that() {
        assert_eq!(shown(Format::Table, &Zones(vec![])), "");
        assert_eq!(shown(Format::Json, &Zones(vec![])), "[]\n");
        assert_eq!(shown(Format::Yaml, &Zones(vec![])).trim(), "[]");
    }

    #[test]
    fn a_cell_cannot_steer_the_terminal() {
        assert!(!shown(Format::Table, &Zones(vec![("\x1b[31mred", "x")])).contains('\x1b'));
    }
}
