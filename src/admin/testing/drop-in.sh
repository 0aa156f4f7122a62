#!/bin/sh
# Calls as scripts for mc_proxy.v1 make them. Nothing here knows of Portcullis. Usage: drop-in.sh HOST:PORT
set -eu
call() { grpcurl -plaintext -d "$2" "$address" "mc_proxy.v1.ProxyAdminService/$1"; }
address=$1

grpcurl -plaintext "$address" describe mc_proxy.v1.ProxyAdminService >/dev/null
call AddRoute '{"listener_addr": ":443", "route": {"hostname": "old.example.com", "backend": "10.0.0.5:8443"}}'
call AddRoute '{"listener_addr": ":443", "route": {"hostname": "new.example.com", "backend": "10.0.0.6:80",
  "mode": "l7", "tls_cert": "/etc/tls/new.pem", "tls_key": "/etc/tls/new.key", "backend_tls": true,
  "send_proxy_protocol": true, "l7_policies": [{"type": "require_header", "value": "x-token"}]}}'
call AddRoute '{"listener_addr": ":443", "route": {"hostname": "gone.example.com", "backend": "10.0.0.7:443"}}'
call RemoveRoute '{"listener_addr": ":443", "hostname": "gone.example.com"}'
call AddL7Policy '{"listener_addr": ":443", "hostname": "new.example.com",
  "policy": {"type": "block_user_agent", "value": "BadBot"}}'
call RemoveL7Policy '{"listener_addr": ":443", "hostname": "new.example.com",
  "policy": {"type": "require_header", "value": "x-token"}}'
call AddFirewallRule '{"rule": {"type": "FIREWALL_RULE_TYPE_IP", "value": "192.0.2.1"}}'
call AddFirewallRule '{"rule": {"type": "FIREWALL_RULE_TYPE_CIDR", "value": "198.51.100.0/24"}}'
call AddFirewallRule '{"rule": {"type": "FIREWALL_RULE_TYPE_COUNTRY", "value": "KP"}}'
call RemoveFirewallRule '{"rule": {"type": "FIREWALL_RULE_TYPE_IP", "value": "192.0.2.1"}}'
call SetListenerMaxConnections '{"listener_addr": ":443", "max_connections": 500}'
call ListL7Policies '{"listener_addr": ":443", "hostname": "new.example.com"}'
call GetFirewallRules '{}'
call GetStatus '{}'
call ListRoutes '{"listener_addr": ":443"}'
