//! A family of routes: what belongs together, with its part of the description.
//!
//! Routes are written down as they are added, so that a test can hold the description against them.

use axum::Router;
use axum::handler::Handler;
use axum::routing::{delete, get, patch, post, put};
use utoipa::openapi::OpenApi;

use crate::app::App;

/// Routes, what they are called, and how they are described.
pub(crate) struct Family {
    router: Router<App>,
    /// Method (in lower case, as OpenAPI has it) and path of each.
    listed: Vec<(&'static str, &'static str)>,
    document: OpenApi,
}

macro_rules! methods {
    ($($method:ident),*) => {$(
        #[doc = concat!("Adds a route for ", stringify!($method), ".")]
        pub(crate) fn $method<H, T>(mut self, path: &'static str, handler: H) -> Self
        where
            H: Handler<T, App>,
            T: 'static,
        {
            self.listed.push((stringify!($method), path));
            self.router = self.router.route(path, $method(handler));
            self
        }
    )*};
}

impl Family {
    /// Without routes yet; `document` describes those that come.
    pub(crate) fn new(document: OpenApi) -> Self {
        Self { router: Router::new(), listed: Vec::new(), document }
    }

    methods!(get, post, put, patch, delete);

    /// Both together.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.listed.extend(other.listed);
        self.document.merge(other.document);
        self
    }

    /// The routes, for a server.
    pub(crate) fn into_router(self) -> Router<App> {
        self.router
    }

    /// Their description.
    pub(crate) fn into_document(self) -> OpenApi {
        self.document
    }

    /// Method and path of each.
    #[cfg(test)]
    pub(crate) fn listed(&self) -> &[(&'static str, &'static str)] {
        &self.listed
    }
}
