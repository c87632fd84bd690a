//! Tables as cofidectl prints them, read back.

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) header: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

/// All tables of an output, their titles aside.
pub(crate) fn tables(text: &str) -> Vec<Table> {
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let lines: Vec<&str> = text.lines().collect();
    let is_rule = |line: &str| !line.is_empty() && line.chars().all(|c| matches!(c, '-' | '+'));
    let rules = (1..lines.len()).filter(|&index| is_rule(lines[index]));
    let table = |rule: usize| Table {
        header: cells(lines[rule - 1]),
        rows: lines[rule + 1..].iter().take_while(|line| !line.is_empty()).map(|line| cells(line)).collect(),
    };
    rules.map(table).collect()
}

impl Table {
    /// One column, from top to bottom.
    #[track_caller]
    pub(crate) fn column(&self, name: &str) -> Vec<&str> {
        let index = self.header.iter().position(|header| header == name).unwrap_or_else(|| panic!("no column {name} in {self:#?}"));
        self.rows.iter().map(|row| row[index].as_str()).collect()
    }
}
