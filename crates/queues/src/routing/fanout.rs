//! The fanout exchange: everybody gets everything.

use super::{Target, Targets};

#[derive(Clone, Debug, Default)]
pub(crate) struct Fanout(Targets);

impl Fanout {
    pub(crate) fn bind(&mut self, target: Target) {
        self.0.add(target);
    }

    pub(crate) fn unbind(&mut self, target: &Target) {
        self.0.remove(target);
    }

    pub(crate) fn route<'a>(&'a self, found: &mut impl FnMut(&'a Target)) {
        self.0.iter().for_each(found);
    }
}
