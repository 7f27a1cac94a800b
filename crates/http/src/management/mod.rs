//! The practical part of RabbitMQ's management API, below `/api`: what `rabbitmqadmin` and client libraries ask for.
//!
//! Paths, field names, statuses and errors are RabbitMQ's, found out by asking a RabbitMQ 3.10 the same questions. Requests carry
//! the name and password of a user of queues (HTTP Basic), who may do here what the same user may do over AMQP. A user whom
//! the settings do not restrict is an administrator; another one sees the virtual hosts that it may enter.
//!
//! What RabbitMQ has no path for lies there too: looking at messages without taking them (`…/messages`), at those that are not
//! due yet, which can be cancelled (`…/scheduled`), and moving messages (`…/moves`).
//!
//! Invariant: nothing here decides about queues; each handler translates a request into broker calls, and the answer back.
//! Source: RabbitMQ's "HTTP API Reference" and what the server and `rabbitmqadmin` do in fact.

mod bindings;
mod channels;
mod connections;
mod definitions;
mod error;
mod exchanges;
mod get;
mod health;
mod list;
mod messages;
mod moves;
mod overview;
mod publish;
mod queues;
mod rates;
mod session;
mod stats;
mod table;
mod users;
mod vhosts;

use axum::Router;
use axum::routing::{delete, get, post};

use crate::app::App;
use error::ApiError;
pub(crate) use rates::Rates;

/// The version of RabbitMQ whose behaviour clients find.
const RABBITMQ_VERSION: &str = "4.1.0";

/// The name of the only node.
const NODE: &str = "annals@localhost";

/// Everything below `/api`.
pub(crate) fn router() -> Router<App> {
    let server = Router::new()
        .route("/overview", get(overview::overview))
        .route("/whoami", get(overview::whoami))
        .route("/cluster-name", get(overview::cluster_name))
        .route("/extensions", get(overview::extensions))
        .route("/nodes", get(overview::nodes))
        .route("/nodes/{name}", get(overview::node))
        .route("/health/checks/alarms", get(health::alarms))
        .route("/health/checks/local-alarms", get(health::alarms))
        .route("/health/checks/virtual-hosts", get(health::virtual_hosts))
        .route("/health/checks/node-is-quorum-critical", get(health::quorum))
        .route("/aliveness-test/{vhost}", get(health::aliveness))
        .route("/definitions", get(definitions::export).post(definitions::import))
        .route("/definitions/{vhost}", get(definitions::export_vhost).post(definitions::import_vhost));
    let people = Router::new()
        .route("/vhosts", get(vhosts::list))
        .route("/vhosts/{name}", get(vhosts::show).put(vhosts::create).delete(vhosts::remove))
        .route("/vhosts/{name}/permissions", get(users::of_vhost))
        .route("/vhosts/{name}/connections", get(connections::of_vhost))
        .route("/users", get(users::list))
        .route("/users/{name}", get(users::show))
        .route("/users/{name}/permissions", get(users::of_user))
        .route("/permissions", get(users::permissions))
        .route("/permissions/{vhost}/{user}", get(users::permission));
    Router::new()
        .merge(server)
        .merge(people)
        .merge(topology())
        .merge(clients())
        .merge(absent())
        .merge(slashed())
        .fallback(|| async { ApiError::not_found() })
}

fn topology() -> Router<App> {
    let to_queue = "/bindings/{vhost}/e/{source}/q/{destination}";
    let to_exchange = "/bindings/{vhost}/e/{source}/e/{destination}";
    Router::new()
        .route("/exchanges", get(exchanges::list))
        .route("/exchanges/{vhost}", get(exchanges::of_vhost))
        .route(
            "/exchanges/{vhost}/{name}",
            get(exchanges::show).put(exchanges::declare).delete(exchanges::remove),
        )
        .route("/exchanges/{vhost}/{name}/publish", post(publish::publish))
        .route("/exchanges/{vhost}/{name}/bindings/source", get(bindings::from_exchange))
        .route("/exchanges/{vhost}/{name}/bindings/destination", get(bindings::to_exchange))
        .route("/queues", get(queues::list))
        .route("/queues/{vhost}", get(queues::of_vhost))
        .route("/queues/{vhost}/{name}", get(queues::show).put(queues::declare).delete(queues::remove))
        .route("/queues/{vhost}/{name}/contents", delete(queues::purge))
        .route("/queues/{vhost}/{name}/get", post(get::get))
        .route("/queues/{vhost}/{name}/messages", get(messages::peek))
        .route("/queues/{vhost}/{name}/scheduled", get(messages::scheduled))
        .route("/queues/{vhost}/{name}/scheduled/{sequence}", delete(messages::cancel))
        .route("/queues/{vhost}/{name}/bindings", get(bindings::to_queue))
        .route("/queues/{vhost}/{name}/moves", post(moves::start))
        .route("/moves", get(moves::list))
        .route("/moves/{id}", get(moves::show).delete(moves::cancel))
        .route("/moves/{id}/resume", post(moves::resume))
        .route("/bindings", get(bindings::list))
        .route("/bindings/{vhost}", get(bindings::of_vhost))
        .route(to_queue, get(bindings::between_queue).post(bindings::bind_queue))
        .route(to_exchange, get(bindings::between_exchange).post(bindings::bind_exchange))
        .route(
            "/bindings/{vhost}/e/{source}/q/{destination}/{key}",
            get(bindings::show_queue).delete(bindings::unbind_queue),
        )
        .route(
            "/bindings/{vhost}/e/{source}/e/{destination}/{key}",
            get(bindings::show_exchange).delete(bindings::unbind_exchange),
        )
}

fn clients() -> Router<App> {
    Router::new()
        .route("/connections", get(connections::list))
        .route("/connections/{name}", get(connections::show).delete(connections::close))
        .route("/connections/{name}/channels", get(channels::of_connection))
        .route("/channels", get(channels::list))
        .route("/channels/{name}", get(channels::show))
        .route("/vhosts/{name}/channels", get(channels::of_vhost))
        .route("/consumers", get(channels::consumers))
        .route("/consumers/{vhost}", get(channels::consumers_of_vhost))
}

/// The lists again with a slash behind their names, as some clients ask for them and RabbitMQ has them too.
fn slashed() -> Router<App> {
    Router::new()
        .route("/nodes/", get(overview::nodes))
        .route("/vhosts/", get(vhosts::list))
        .route("/users/", get(users::list))
        .route("/permissions/", get(users::permissions))
        .route("/exchanges/", get(exchanges::list))
        .route("/queues/", get(queues::list))
        .route("/bindings/", get(bindings::list))
        .route("/connections/", get(connections::list))
        .route("/channels/", get(channels::list))
        .route("/consumers/", get(channels::consumers))
}

/// What there is none of here. Tools list it all the same.
fn absent() -> Router<App> {
    let paths = [
        "/policies",
        "/policies/{vhost}",
        "/operator-policies",
        "/operator-policies/{vhost}",
        "/parameters",
        "/parameters/{component}",
        "/global-parameters",
        "/topic-permissions",
        "/vhost-limits",
        "/vhost-limits/{vhost}",
        "/user-limits",
        "/feature-flags",
        "/deprecated-features",
        "/deprecated-features/used",
    ];
    paths.into_iter().fold(Router::new(), |router, path| router.route(path, get(overview::none)))
}
