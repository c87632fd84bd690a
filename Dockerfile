# Images of the programs: static binaries and nothing beside them, no shell, user 65532.
#
#   docker build --target cofide-agent   --tag cofide/cofide-agent:0.1.0 .
#   docker build --target cofide-connect --tag cofide/cofide-connect:0.1.0 .
#   docker build --target ping-pong      --tag cofide/ping-pong:0.1.0 .
#   docker build --target cofidectl      --tag cofide/cofidectl:0.1.0 .
#
# Alpine's target is musl, whose binaries need no library of the image that they run in.

FROM rust:1.95-alpine AS build
# For aws-lc and SQLite, which are built from source.
RUN apk add --no-cache build-base cmake linux-headers perl
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --package cofide-agent --package cofide-connect --package cofide-cli --package cofide-ping-pong --bins && \
    mkdir /out && \
    cp target/release/cofide-agent target/release/cofide-connect target/release/cofidectl \
        target/release/ping-pong-server target/release/ping-pong-client /out/

FROM gcr.io/distroless/static-debian12:nonroot AS cofidectl
COPY --from=build /out/cofidectl /usr/local/bin/
ENTRYPOINT ["cofidectl"]

FROM gcr.io/distroless/static-debian12:nonroot AS ping-pong
COPY --from=build /out/ping-pong-server /out/ping-pong-client /usr/local/bin/
CMD ["ping-pong-server", "--help"]

FROM gcr.io/distroless/static-debian12:nonroot AS cofide-connect
COPY --from=build /out/cofide-connect /usr/local/bin/
EXPOSE 8443 9090
ENTRYPOINT ["cofide-connect"]
CMD ["serve"]

FROM gcr.io/distroless/static-debian12:nonroot AS cofide-agent
COPY --from=build /out/cofide-agent /usr/local/bin/
EXPOSE 18001 10053/udp 10053/tcp 9090
ENTRYPOINT ["cofide-agent"]
CMD ["run"]
