//! InitProducerId: an id under which an idempotent producer numbers its batches, so that a repeated one is recognised.

use std::ops::RangeInclusive;

use annals_broker::api::produce::{InitProducerId as Asked, ProducerIdentity};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{ApiKey, InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use crate::errors;
use crate::shape::{Shape, int16, int32, int64, string};

use super::values::millis;
use super::{Api, Context};

pub(crate) struct InitProducerId;

impl Api for InitProducerId {
    const KEY: ApiKey = ApiKey::InitProducerId;
    const VERSIONS: RangeInclusive<i16> = 0..=5;
    const SHAPE: Shape = Shape {
        flexible_from: 2,
        fields: &[
            string("TransactionalId"),
            int32("TransactionTimeoutMs"),
            int64("ProducerId").since(3),
            int16("ProducerEpoch").since(3),
        ],
    };
    type Request = InitProducerIdRequest;
    type Response = InitProducerIdResponse;

    async fn handle(context: &Context, _: i16, request: InitProducerIdRequest) -> InitProducerIdResponse {
        let Ok(current) = current(&request) else { return refused(ResponseError::InvalidRequest) };
        let asked = Asked {
            transactional_id: request.transactional_id.map(|id| id.to_string()),
            transaction_timeout: millis(request.transaction_timeout_ms),
            current,
        };
        match context.broker.init_producer_id(&context.caller, asked).await {
            Ok(given) => InitProducerIdResponse::default()
                .with_producer_id(ProducerId(given.id))
                .with_producer_epoch(given.epoch),
            Err(error) => refused(errors::init_producer_id(&error)),
        }
    }
}

/// Id and epoch that the producer has: both or neither (KIP-360).
fn current(request: &InitProducerIdRequest) -> Result<Option<ProducerIdentity>, ()> {
    match (request.producer_id.0, request.producer_epoch) {
        (-1, -1) => Ok(None),
        (id, epoch) if id >= 0 && epoch >= 0 => Ok(Some(ProducerIdentity { id, epoch })),
        _ => Err(()),
    }
}

fn refused(error: ResponseError) -> InitProducerIdResponse {
    InitProducerIdResponse::default()
        .with_error_code(error.code())
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1)
}
