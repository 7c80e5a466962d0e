// Package spiffe stands in for github.com/fluxcd/pkg/spiffe: there are no SPIFFE identities.
package spiffe

import (
	"crypto/tls"
	"errors"
)

// Names of the controller's flags.
const (
	ControllerFlagAuthorizedArtifactServerSPIFFEID = "authorized-artifact-server-spiffe-id"
	ControllerFlagAuthorizedEventServerSPIFFEID    = "authorized-event-server-spiffe-id"
	ControllerFlagSPIFFEBrokerEndpoint             = "spiffe-broker-endpoint"
	ControllerFlagSPIFFEBrokerID                   = "spiffe-broker-id"
)

// BuildTLSConfig refuses.
func BuildTLSConfig(any, ...string) (*tls.Config, error) {
	return nil, errors.New("this build has no SPIFFE")
}
