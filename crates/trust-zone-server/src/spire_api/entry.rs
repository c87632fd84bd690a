//! `spire.api.server.entry.v1.Entry`

use std::time::SystemTime;

use cofide_api::spire::server::entry as api;
use cofide_api::spire::server::entry::entry_server::Entry as EntryApi;
use cofide_api::spire::types;
use cofide_core::Timestamp;
use tonic::{Code, Request, Response, Status};

use super::entry_filter::EntryFilter;
use super::entry_proto::{self, masked};
use super::{Failure, ok, paging, parts};
use crate::datastore::{Content, Created, Datastore, EntryId};

#[derive(Debug)]
pub struct Service {
    pub(super) datastore: Datastore,
}

#[tonic::async_trait]
impl EntryApi for Service {
    async fn count_entries(&self, request: Request<api::CountEntriesRequest>) -> Result<Response<api::CountEntriesResponse>, Status> {
        let content = self.datastore.read();
        let filter = EntryFilter::count(content.trust_domain(), request.into_inner().filter)?;
        let count = content.entries().filter(|entry| filter.admits(entry)).count();
        Ok(Response::new(api::CountEntriesResponse { count: i32::try_from(count).unwrap_or(i32::MAX) }))
    }

    async fn list_entries(&self, request: Request<api::ListEntriesRequest>) -> Result<Response<api::ListEntriesResponse>, Status> {
        let request = request.into_inner();
        let content = self.datastore.read();
        let filter = EntryFilter::list(content.trust_domain(), request.filter)?;
        let admitted = content.entries().filter(|entry| filter.admits(entry)).map(|entry| (entry.id.to_string(), entry)).collect();
        let (page, next_page_token) = paging::page(admitted, request.page_size, &request.page_token);
        let entries = page.into_iter().map(|entry| masked(entry, request.output_mask.as_ref())).collect();
        Ok(Response::new(api::ListEntriesResponse { entries, next_page_token }))
    }

    async fn get_entry(&self, request: Request<api::GetEntryRequest>) -> Result<Response<types::Entry>, Status> {
        let request = request.into_inner();
        if request.id.is_empty() {
            return Err(Status::invalid_argument("missing ID"));
        }
        let content = self.datastore.read();
        let entry = request.id.parse().ok().and_then(|id| content.entry(&id)).ok_or_else(|| Status::not_found("entry not found"))?;
        Ok(Response::new(masked(entry, request.output_mask.as_ref())))
    }

    async fn batch_create_entry(
        &self,
        request: Request<api::BatchCreateEntryRequest>,
    ) -> Result<Response<api::BatchCreateEntryResponse>, Status> {
        let api::BatchCreateEntryRequest { entries, output_mask } = request.into_inner();
        let now = SystemTime::now().into();
        let create = |content: &mut Content| entries.iter().map(|entry| create(content, entry, output_mask.as_ref(), now)).collect();
        let results = self.datastore.update(create).await?;
        Ok(Response::new(api::BatchCreateEntryResponse { results }))
    }

    async fn batch_update_entry(
        &self,
        request: Request<api::BatchUpdateEntryRequest>,
    ) -> Result<Response<api::BatchUpdateEntryResponse>, Status> {
        let api::BatchUpdateEntryRequest { entries, input_mask, output_mask } = request.into_inner();
        let input_mask = input_mask.unwrap_or(entry_proto::ALL);
        let update = |content: &mut Content| {
            let update = |message| {
                let (status, entry) = parts(update(content, message, &input_mask, output_mask.as_ref()));
                api::batch_update_entry_response::Result { status, entry }
            };
            entries.into_iter().map(update).collect()
        };
        let results = self.datastore.update(update).await?;
        Ok(Response::new(api::BatchUpdateEntryResponse { results }))
    }

    async fn batch_delete_entry(
        &self,
        request: Request<api::BatchDeleteEntryRequest>,
    ) -> Result<Response<api::BatchDeleteEntryResponse>, Status> {
        let ids = request.into_inner().ids;
        let delete = |content: &mut Content| {
            let delete = |id: String| {
                let (status, _) = parts(delete(content, &id));
                api::batch_delete_entry_response::Result { status, id }
            };
            ids.into_iter().map(delete).collect()
        };
        let results = self.datastore.update(delete).await?;
        Ok(Response::new(api::BatchDeleteEntryResponse { results }))
    }
}

fn create(
    content: &mut Content,
    message: &types::Entry,
    mask: Option<&types::EntryMask>,
    now: Timestamp,
) -> api::batch_create_entry_response::Result {
    let created = entry_proto::from_proto(content.trust_domain(), message)
        .map_err(|reason| Failure::invalid(format!("failed to convert entry: {reason}")))
        .and_then(|mut entry| {
            entry.created_at = now.as_seconds();
            content.create_entry(entry).map_err(|error| Failure::of("failed to create entry", &error))
        });
    let (status, entry) = match created {
        Ok(Created::New(entry)) => {
            tracing::info!(entry_id = %entry.id, spiffe_id = %entry.spiffe_id, "created an entry");
            (ok(), Some(masked(&entry, mask)))
        }
        Ok(Created::Existing(entry)) => {
            let status = types::Status { code: Code::AlreadyExists as i32, message: "similar entry already exists".into() };
            (status, Some(masked(&entry, mask)))
        }
        Err(failure) => (failure.into(), None),
    };
    api::batch_create_entry_response::Result { status: Some(status), entry }
}

fn update(
    content: &mut Content,
    message: types::Entry,
    input_mask: &types::EntryMask,
    output_mask: Option<&types::EntryMask>,
) -> Result<types::Entry, Failure> {
    let id = entry_id(&message.id)?;
    let held = content.entry(&id).ok_or_else(not_found)?;
    // What the mask leaves out stays, so the whole can be read by the one rule for whole entries.
    let whole = entry_proto::overlay(entry_proto::to_proto(held), message, input_mask);
    let entry = entry_proto::from_proto(content.trust_domain(), &whole)
        .map_err(|reason| Failure::invalid(format!("failed to convert entry: {reason}")))?;
    let change = |held: &mut crate::datastore::Entry| {
        let (revision_number, created_at) = (held.revision_number, held.created_at);
        *held = crate::datastore::Entry { revision_number, created_at, ..entry };
    };
    let updated = content.update_entry(&id, change).map_err(|error| Failure::of("failed to update entry", &error))?;
    tracing::info!(entry_id = %updated.id, spiffe_id = %updated.spiffe_id, "updated an entry");
    Ok(masked(&updated, output_mask))
}

fn delete(content: &mut Content, id: &str) -> Result<(), Failure> {
    let id = entry_id(id)?;
    content.delete_entry(&id).map_err(|error| Failure::of("failed to delete entry", &error))?;
    tracing::info!(entry_id = %id, "deleted an entry");
    Ok(())
}

/// An id that no entry can have is an entry that is not there.
fn entry_id(text: &str) -> Result<EntryId, Failure> {
    match text {
        "" => Err(Failure::invalid("missing entry ID")),
        text => text.parse().map_err(|_| not_found()),
    }
}

fn not_found() -> Failure {
    Failure { code: Code::NotFound, message: "entry not found".into() }
}
