//! Events in a table.

use annals::client::Event;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::output::{Align, Columns};

/// The most of an event's data that a table shows, in characters.
const DATA_CHARS_MAX: usize = 80;

/// A row of a table of events.
pub(in crate::commands) struct Row<'a> {
    /// What stands in front.
    pub(in crate::commands) lead: Vec<String>,
    pub(in crate::commands) event: &'a Event,
}

/// A table of events with more columns in front.
pub(in crate::commands) fn rows<'a>(
    lead: &[(&str, Align)],
    rows: impl IntoIterator<Item = Row<'a>>,
) -> Columns {
    let own = [("recorded", Align::Left), ("type", Align::Left), ("data", Align::Left)];
    let headings: Vec<(&str, Align)> = lead.iter().copied().chain(own).collect();
    let mut table = Columns::new(&headings);
    for Row { lead, event } in rows {
        let own = [event.recorded.clone(), event.name.clone(), data(event)];
        table.row(lead.into_iter().chain(own));
    }
    table
}

/// The beginning of an event's data on one line.
fn data(event: &Event) -> String {
    let text = match event {
        Event { shredded: true, .. } => return "(its key was deleted)".to_owned(),
        Event { data: Some(data), .. } => data.get().split_whitespace().collect::<Vec<_>>().join(" "),
        Event { data_base64: Some(text), .. } => {
            let bytes = STANDARD.decode(text).map_or(0, |bytes| bytes.len());
            return format!("({bytes} bytes)");
        }
        _ => return "-".to_owned(),
    };
    match text.char_indices().nth(DATA_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
