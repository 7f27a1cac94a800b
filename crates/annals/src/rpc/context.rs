//! What ties a request to everything else: correlation, causation, trace. Carried as headers, under the names that
//! CloudEvents and W3C Trace Context give them.

use annals_event::TraceParent;

use super::transport::Message;

const CORRELATION: &str = "correlationid";
const CAUSATION: &str = "causationid";
const TRACE_PARENT: &str = "traceparent";
const TRACE_STATE: &str = "tracestate";

/// What a request belongs to. [`Call::caused`](super::Call::caused) is what a responder gives to what it sends itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// One for everything that one action caused. A request without one is the first of its own: then it is the request's id.
    pub correlation_id: Option<String>,
    /// The id of the message or event that caused this.
    pub causation_id: Option<String>,
    /// The trace and the span that this comes from (W3C Trace Context).
    pub trace_parent: Option<TraceParent>,
    /// What vendors keep beside it. Means nothing without `trace_parent`, and is then left out.
    pub trace_state: Option<String>,
}

impl Context {
    pub(super) fn write(&self, message: &mut Message) {
        let mut put = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                message.headers.insert(name.to_owned(), value);
            }
        };
        put(CORRELATION, self.correlation_id.clone());
        put(CAUSATION, self.causation_id.clone());
        put(TRACE_PARENT, self.trace_parent.as_ref().map(ToString::to_string));
        put(TRACE_STATE, self.trace_state.clone().filter(|_| self.trace_parent.is_some()));
    }

    /// What a message carries. A trace that is not written as it should be starts anew, as the recommendation says.
    pub(super) fn read(message: &Message) -> Self {
        let header = |name: &str| message.headers.get(name).cloned();
        let trace_parent = header(TRACE_PARENT).and_then(|text| text.parse().ok());
        let trace_state = header(TRACE_STATE).filter(|_| trace_parent.is_some());
        Self {
            correlation_id: header(CORRELATION),
            causation_id: header(CAUSATION),
            trace_parent,
            trace_state,
        }
    }

    /// Whether a header is one of these.
    pub(super) fn owns(name: &str) -> bool {
        [CORRELATION, CAUSATION, TRACE_PARENT, TRACE_STATE].contains(&name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_as_it_was() {
        let trace_parent = "00-0af7651916cd43dd8448eb211c80319c-b9c7c989f97918e1-01".parse().ok();
        let context = Context {
            correlation_id: Some("corr_abc".into()),
            causation_id: Some("evt_123455".into()),
            trace_parent,
            trace_state: Some("vendor=1".into()),
        };
        let mut message = Message::default();
        context.write(&mut message);
        assert_eq!(message.headers["traceparent"], "00-0af7651916cd43dd8448eb211c80319c-b9c7c989f97918e1-01");
        assert_eq!(Context::read(&message), context);
    }

    #[test]
    fn a_broken_trace_is_none() {
        let mut message = Message::default();
        message.headers.insert("traceparent".into(), "00-zz".into());
        message.headers.insert("tracestate".into(), "vendor=1".into());
        assert_eq!(Context::read(&message), Context::default());
    }
}
