//! What commands print on standard output: a table for people or JSON for programs.
//!
//! Every write can fail, and does when the reader of a pipe goes away; so nothing here uses `println!`, and
//! the caller passes the error on to `failure::report`, which knows a closed pipe.

use std::io::{self, Write};

use anyhow::Result;
use clap::ValueEnum;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;

/// How a listing is printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Format {
    /// Columns, for reading.
    Table,
    /// One JSON document, for programs.
    Json,
}

/// The option that every listing command has.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct FormatArgs {
    /// How to print the result
    #[arg(short = 'o', long = "output", value_enum, default_value = "table", global = true)]
    pub(crate) format: Format,
}

/// How the cells of a column are placed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A table without lines, so that it can be cut and sorted by the usual tools.
#[derive(Debug)]
pub(crate) struct Columns {
    table: Table,
}

impl Columns {
    /// An empty table with these headings.
    pub(crate) fn new(headings: &[(&str, Align)]) -> Self {
        let mut table = Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_header(headings.iter().map(|(heading, _)| heading.to_uppercase()));
        for (column, (_, align)) in table.column_iter_mut().zip(headings) {
            column.set_padding((0, 2));
            column.set_cell_alignment(match align {
                Align::Left => CellAlignment::Left,
                Align::Right => CellAlignment::Right,
            });
        }
        Self { table }
    }

    /// Adds a row. It has as many cells as there are headings.
    pub(crate) fn row<I>(&mut self, cells: I)
    where
        I: IntoIterator,
        I::Item: Into<comfy_table::Cell>,
    {
        self.table.add_row(cells);
    }

    /// Prints the table on standard output.
    pub(crate) fn print(&self) -> Result<()> {
        let mut out = io::stdout().lock();
        for line in self.table.lines() {
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(out.flush()?)
    }
}

/// Prints one line on standard output.
pub(crate) fn line(text: impl AsRef<str>) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", text.as_ref())?;
    Ok(out.flush()?)
}

/// Prints `value` as one indented JSON document on standard output.
pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(out.flush()?)
}

/// Asks on the terminal; only a clear yes counts.
pub(crate) fn confirm(question: &str) -> Result<bool> {
    let mut terminal = io::stderr();
    write!(terminal, "{question} [y/N] ")?;
    terminal.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// A number, or `-` where it is not known.
pub(crate) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
