//! InitProducerId: an id for an idempotent producer (KIP-98, KIP-360).

use std::ops::RangeInclusive;

use annals_broker::api::produce::{InitProducerId as Init, InitProducerIdError, ProducerIdentity};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{ApiKey, InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use crate::api::Api;
use crate::close::Close;
use crate::connection::Reply;
use crate::context::Context;
use crate::shape::{Shape, int16, int32, int64, string};

use super::millis;

pub(crate) struct InitProducerId;

impl Api for InitProducerId {
    const KEY: ApiKey = ApiKey::InitProducerId;
    const NAME: &'static str = "InitProducerId";
    const VERSIONS: RangeInclusive<i16> = 0..=5;
    const SHAPE: &'static Shape =
        &Shape { flexible_from: 2, fields: &[string(), int32(), int64().since(3), int16().since(3)] };

    type Request = InitProducerIdRequest;

    async fn handle(context: &mut Context, request: InitProducerIdRequest, version: i16) -> Result<Reply, Close> {
        let response = match init(&request) {
            Err(error) => refused(error),
            Ok(init) => match context.broker().init_producer_id(&context.caller, init).await {
                Ok(identity) => InitProducerIdResponse::default()
                    .with_producer_id(ProducerId(identity.id))
                    .with_producer_epoch(identity.epoch),
                Err(error) => refused(error_code(&error)),
            },
        };
        Self::reply(&response, version)
    }
}

/// An empty transactional id is a mistake, as is an epoch without an id.
fn init(request: &InitProducerIdRequest) -> Result<Init, ResponseError> {
    let (id, epoch) = (request.producer_id.0, request.producer_epoch);
    let is_empty = request.transactional_id.as_ref().is_some_and(|id| id.0.is_empty());
    if is_empty || (id == -1) != (epoch == -1) {
        return Err(ResponseError::InvalidRequest);
    }
    Ok(Init {
        transactional_id: request.transactional_id.as_ref().map(|id| id.0.to_string()),
        transaction_timeout: millis(request.transaction_timeout_ms),
        current: (id != -1).then_some(ProducerIdentity { id, epoch }),
    })
}

fn refused(error: ResponseError) -> InitProducerIdResponse {
    InitProducerIdResponse::default()
        .with_error_code(error.code())
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1)
}

fn error_code(error: &InitProducerIdError) -> ResponseError {
    match error {
        // See `find_coordinator` for why not "unsupported": clients would ask again for ever.
        InitProducerIdError::TransactionsUnsupported(_) => ResponseError::TransactionalIdAuthorizationFailed,
        InitProducerIdError::InvalidTransactionTimeout => ResponseError::InvalidTransactionTimeout,
        InitProducerIdError::Fenced(_) => ResponseError::ProducerFenced,
        InitProducerIdError::NotAuthorized => ResponseError::ClusterAuthorizationFailed,
        InitProducerIdError::Unavailable(_) => ResponseError::CoordinatorNotAvailable,
    }
}
