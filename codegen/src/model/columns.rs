//! Text in aligned columns.

use std::fmt;

/// Rows of cells that are printed in columns, below a heading. The text of cells is not escaped here.
pub(crate) struct Columns {
    heading: &'static str,
    rows: Vec<Vec<String>>,
    /// Whether each column is aligned to the right, as numbers are.
    right: Vec<bool>,
}

impl Columns {
    /// Creates columns with these titles. A title that begins with `>` marks a column of numbers.
    pub(crate) fn new(heading: &'static str, titles: &[&str]) -> Self {
        let right = titles.iter().map(|title| title.starts_with('>')).collect();
        let titles = titles.iter().map(|title| title.trim_start_matches('>').to_owned()).collect();
        Self { heading, rows: vec![titles], right }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
}

impl fmt::Display for Columns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows.len() < 2 {
            return Ok(());
        }
        let len = |cell: &String| cell.chars().count();
        let width = |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.right.len()).map(width).collect();
        writeln!(f, "\n{}", self.heading)?;
        for row in &self.rows {
            let cells = row.iter().zip(&widths).zip(&self.right).map(|((cell, width), right)| {
                let space = " ".repeat(width - len(cell));
                if *right { format!("  {space}{cell}") } else { format!("  {cell}{space}") }
            });
            let line: String = cells.collect();
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut columns = Columns::new("maps", &["NAME", ">SIZE", "WHAT"]);
        assert_eq!(columns.to_string(), "", "nothing without rows");
        columns.row(["ä".to_owned(), "4096".to_owned(), String::new()]);
        columns.row(["longer".to_owned(), "4".to_owned(), "end".to_owned()]);
        assert_eq!(columns.to_string(), "\nmaps\n  NAME    SIZE  WHAT\n  ä       4096\n  longer     4  end\n");
    }
}
