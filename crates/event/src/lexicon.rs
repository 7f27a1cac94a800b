//! The English verbs that names of events are made of, and their past participles.
//!
//! Small on purpose: it holds what stands in names of events and commands in business software. A verb that is missing
//! costs a suggestion, never a wrong refusal.

/// Verbs whose past participle is not made by adding `ed`, with the participle.
const IRREGULAR: &[(&str, &str)] = &[
    ("admit", "admitted"),
    ("become", "become"),
    ("begin", "begun"),
    ("bind", "bound"),
    ("break", "broken"),
    ("bring", "brought"),
    ("build", "built"),
    ("buy", "bought"),
    ("cancel", "cancelled"),
    ("catch", "caught"),
    ("choose", "chosen"),
    ("come", "come"),
    ("commit", "committed"),
    ("cut", "cut"),
    ("deal", "dealt"),
    ("debug", "debugged"),
    ("defer", "deferred"),
    ("draw", "drawn"),
    ("drive", "driven"),
    ("drop", "dropped"),
    ("emit", "emitted"),
    ("fall", "fallen"),
    ("find", "found"),
    ("forbid", "forbidden"),
    ("forget", "forgotten"),
    ("freeze", "frozen"),
    ("get", "got"),
    ("give", "given"),
    ("go", "gone"),
    ("grow", "grown"),
    ("hear", "heard"),
    ("hide", "hidden"),
    ("hit", "hit"),
    ("hold", "held"),
    ("keep", "kept"),
    ("know", "known"),
    ("lay", "laid"),
    ("lead", "led"),
    ("leave", "left"),
    ("lend", "lent"),
    ("log", "logged"),
    ("lose", "lost"),
    ("make", "made"),
    ("map", "mapped"),
    ("meet", "met"),
    ("occur", "occurred"),
    ("overdraw", "overdrawn"),
    ("overwrite", "overwritten"),
    ("pay", "paid"),
    ("permit", "permitted"),
    ("plan", "planned"),
    ("put", "put"),
    ("read", "read"),
    ("rebuild", "rebuilt"),
    ("refer", "referred"),
    ("repay", "repaid"),
    ("resend", "resent"),
    ("reset", "reset"),
    ("rise", "risen"),
    ("run", "run"),
    ("scan", "scanned"),
    ("see", "seen"),
    ("sell", "sold"),
    ("send", "sent"),
    ("set", "set"),
    ("ship", "shipped"),
    ("shut", "shut"),
    ("spend", "spent"),
    ("split", "split"),
    ("stop", "stopped"),
    ("submit", "submitted"),
    ("swap", "swapped"),
    ("tag", "tagged"),
    ("take", "taken"),
    ("tell", "told"),
    ("throw", "thrown"),
    ("transfer", "transferred"),
    ("trim", "trimmed"),
    ("undo", "undone"),
    ("upset", "upset"),
    ("win", "won"),
    ("withdraw", "withdrawn"),
    ("write", "written"),
];

/// Verbs whose past is made by rule, in alphabetical order.
const REGULAR: &str = "
    abort accept acknowledge acquire activate add adjust allocate amend append apply approve archive arrive
    assign attach authorise authorize award block book calculate capture change charge check claim clear
    close collect complete confirm connect consume convert correct create credit deactivate debit decline
    decrease delay delete deliver deny deploy deposit detach detect disable discard disconnect dispatch
    download earn edit enable end enrol enter evict expire export fail finish fulfil fulfill generate grant
    handle import increase index initialise initialize initiate install invite invoice issue join launch
    link load lock mark match merge migrate modify move notify open pack pause pick place poll post prepare
    process produce promote publish pull purchase push queue raise receive record recover redeem refresh
    refund register reject release remove rename renew replace reply report request reschedule reserve
    resolve restart restock restore resume retry return reverse revert review revoke save schedule settle
    sign start store subscribe succeed suspend terminate track trigger unlock unsubscribe update
    upgrade upload use validate verify view visit void watch
";

/// Words that are past and the participle of nothing above.
const PAST_FORMS: &str = "
    began broke chose done drew fell froze gave grew knew ran rose saw threw took went withdrew woken worn
    wrote
";

/// Words in `ed` that are not past.
const NOT_PAST: &str = "
    bed breed embed exceed feed greed heed hundred need newsfeed proceed red seed shed sled speed succeed
    unembed weed
";

/// Whether `word`, in lower case, is a past form or a past participle.
pub(crate) fn is_past(word: &str) -> bool {
    let regular = word.len() >= 4 && word.ends_with("ed") && !holds(NOT_PAST, word);
    regular || holds(PAST_FORMS, word) || IRREGULAR.iter().any(|(_, past)| *past == word)
}

/// The past participle of `word`, in lower case, if it is a verb that is known here.
pub(crate) fn participle(word: &str) -> Option<String> {
    if let Some((_, past)) = IRREGULAR.iter().find(|(verb, _)| *verb == word) {
        return Some((*past).to_owned());
    }
    holds(REGULAR, word).then(|| regular_participle(word))
}

fn holds(words: &str, word: &str) -> bool {
    words.split_ascii_whitespace().any(|known| known == word)
}

fn regular_participle(verb: &str) -> String {
    match verb.as_bytes() {
        _ if matches!(verb, "enrol" | "fulfil") => format!("{verb}led"),
        [.., b'e'] => format!("{verb}d"),
        [.., before, b'y'] if !b"aeiou".contains(before) => format!("{}ied", &verb[..verb.len() - 1]),
        _ => format!("{verb}ed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn participles() {
        let cases = [
            ("place", "placed"),
            ("notify", "notified"),
            ("deploy", "deployed"),
            ("process", "processed"),
            ("fulfil", "fulfilled"),
            ("ship", "shipped"),
            ("withdraw", "withdrawn"),
        ];
        for (verb, past) in cases {
            assert_eq!(participle(verb).as_deref(), Some(past));
        }
        assert_eq!(participle("order"), None);
    }

    #[test]
    fn every_participle_is_known_to_be_past() {
        let verbs = IRREGULAR.iter().map(|(verb, _)| *verb).chain(REGULAR.split_ascii_whitespace());
        for verb in verbs {
            assert!(is_past(&participle(verb).unwrap()), "{verb}");
        }
    }
}
