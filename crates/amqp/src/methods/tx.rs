//! Class tx: publishes and acknowledgements that happen together or not at all.

pub(crate) const CLASS: u16 = 90;

method! {
    /// From now on, nothing happens before a commit.
    Select = 10 {}
}
method! {
    /// So be it.
    SelectOk = 11 {}
}
method! {
    /// Lets all of it happen.
    Commit = 20 {}
}
method! {
    /// It has happened.
    CommitOk = 21 {}
}
method! {
    /// Forgets all of it.
    Rollback = 30 {}
}
method! {
    /// It is forgotten.
    RollbackOk = 31 {}
}
