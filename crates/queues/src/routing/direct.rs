//! The direct exchange: the key must be the same.

use std::collections::HashMap;

use super::{Target, Targets};
use crate::Text;

#[derive(Clone, Debug, Default)]
pub(crate) struct Direct(HashMap<Text, Targets>);

impl Direct {
    pub(crate) fn bind(&mut self, key: &Text, target: Target) {
        self.0.entry(key.clone()).or_default().add(target);
    }

    pub(crate) fn unbind(&mut self, key: &Text, target: &Target) {
        let Some(targets) = self.0.get_mut(key.as_bytes()) else { return };
        targets.remove(target);
        if targets.is_empty() {
            self.0.remove(key.as_bytes());
        }
    }

    pub(crate) fn route<'a>(&'a self, key: &Text, found: &mut impl FnMut(&'a Target)) {
        if let Some(targets) = self.0.get(key.as_bytes()) {
            targets.iter().for_each(found);
        }
    }
}
