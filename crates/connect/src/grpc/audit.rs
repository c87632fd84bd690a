//! `proto.connect.audit_service.v1alpha1.AuditService`

use cofide_api::connect::audit_service::audit_service_server::AuditService;
use cofide_api::connect::audit_service::list_events_request::{Filter, filter};
use cofide_api::connect::audit_service::{ListEventsRequest, ListEventsResponse, RecordExchangeRequest, RecordExchangeResponse};
use cofide_api::convert::from_timestamp;
use cofide_api::types::audit::{EntityType, EventType, Outcome};
use cofide_api::types::pagination::PageResponse;
use cofide_core::{EntityKind, EventKind};
use cofide_store::{AuditEntity, AuditExclude, AuditFilter, PageRequest};
use tonic::{Request, Response, Status};

use super::{Api, set};
use crate::error::{Error, Result};

#[tonic::async_trait]
impl AuditService for Api {
    async fn list_events(&self, request: Request<ListEventsRequest>) -> Result<Response<ListEventsResponse>, Status> {
        let ListEventsRequest { filter, pagination } = request.into_inner();
        let pagination = pagination.unwrap_or_default();
        let page = PageRequest { size: pagination.page_size, token: pagination.page_token };
        let Some(filter) = audit_filter(filter.unwrap_or_default())? else {
            return Ok(Response::new(ListEventsResponse { events: Vec::new(), pagination: Some(PageResponse::default()) }));
        };
        let page = self.app.audit_events(&filter, &page).await?;
        Ok(Response::new(ListEventsResponse {
            events: page.events.into_iter().map(Into::into).collect(),
            pagination: Some(PageResponse { next_page_token: page.next_token }),
        }))
    }

    async fn record_exchange(&self, _: Request<RecordExchangeRequest>) -> Result<Response<RecordExchangeResponse>, Status> {
        Err(Status::unimplemented("token exchanges are not recorded in this version"))
    }
}

/// `None` where the filter asks only for what this system never records.
fn audit_filter(filter: Filter) -> Result<Option<AuditFilter>> {
    let kinds = event_kinds("filter.event_types", &filter.event_types)?;
    if kinds.is_empty() && !filter.event_types.is_empty() {
        return Ok(None);
    }
    let exclude = filter.exclude.unwrap_or_default();
    Ok(Some(AuditFilter {
        kinds,
        entities: entities("filter.entities", filter.entities)?,
        match_linkless: filter.match_linkless,
        occurred_before: filter.occurred_before.as_ref().map(from_timestamp),
        occurred_after: filter.occurred_after.as_ref().map(from_timestamp),
        actors: filter.actors,
        source_ips: filter.source_ips,
        outcomes: outcomes("filter.outcomes", &filter.outcomes)?,
        exclude: AuditExclude {
            kinds: event_kinds("filter.exclude.event_types", &exclude.event_types)?,
            entities: entities("filter.exclude.entities", exclude.entities)?,
            actors: exclude.actors,
            source_ips: exclude.source_ips,
            outcomes: outcomes("filter.exclude.outcomes", &exclude.outcomes)?,
        },
    }))
}

/// The kinds that this system records; the wire knows more. `EVENT_TYPE_UNSPECIFIED` stands for calls that are no change
/// of their own kind.
fn event_kinds(path: &str, values: &[i32]) -> Result<Vec<EventKind>> {
    let kind = |value: &i32| match EventType::try_from(*value) {
        Ok(EventType::Unspecified) => Ok(Some(EventKind::Other)),
        Ok(known) => Ok(known.known()),
        Err(error) => Err(Error::invalid(path, error)),
    };
    values.iter().filter_map(|value| kind(value).transpose()).collect()
}

fn entities(path: &str, entities: Vec<filter::Entity>) -> Result<Vec<AuditEntity>> {
    let kind = |value: i32| -> Result<Option<EntityKind>> {
        match EntityType::try_from(value) {
            Ok(EntityType::Unspecified) => Ok(None),
            Ok(known) => {
                known.known().map(Some).ok_or_else(|| Error::invalid(path, format_args!("{} is never recorded", known.as_str_name())))
            }
            Err(error) => Err(Error::invalid(path, error)),
        }
    };
    entities.into_iter().map(|entity| Ok(AuditEntity { kind: kind(entity.r#type)?, id: set(Some(entity.id)) })).collect()
}

fn outcomes(path: &str, values: &[i32]) -> Result<Vec<cofide_core::Outcome>> {
    let outcome = |value: &i32| match Outcome::try_from(*value) {
        Ok(known) => known.known().ok_or_else(|| Error::invalid(path, "must be OUTCOME_SUCCESS or OUTCOME_DENIED")),
        Err(error) => Err(Error::invalid(path, error)),
    };
    values.iter().map(outcome).collect()
}
