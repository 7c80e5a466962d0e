// Package v1 stands in for github.com/fluxcd/pkg/apis/crypto/v1: no cloud has credentials for this build.
package v1

import (
	"errors"
	"time"
)

// Names of providers and defaults.
const (
	ProviderAWS                  = "aws"
	ProviderAzure                = "azure"
	ProviderGCP                  = "gcp"
	CredentialProviderKubernetes = "kubernetes"
	CredentialProviderSPIFFE     = "spiffe"
	CredentialTypeJWT            = "jwt"
	DefaultAudienceAWS           = "aws"
	DefaultAudienceAzure         = "azure"
	RegistryAWSPublicECR         = "public"
)

var errNone = errors.New("this build has no credentials of clouds")

// Spec is a configuration of credentials. It is always empty.
type Spec struct{ Auth *AuthSpec }

// Option changes a Spec.
type Option func(*Spec)

// AuthSpec has the credentials of each provider.
type AuthSpec struct {
	Credential *struct {
		Provider, Type, Username string
		Expiration               time.Duration
		Audiences                []string
	}
	AWS *struct {
		RoleARN, STSEndpoint string
		Cluster              *struct{ Region, Name string }
	}
	Azure *struct {
		TenantID, ClientID string
		Cluster            *struct{ SubscriptionID, ResourceGroup, Name string }
	}
	GCP           *struct{ WorkloadIdentityProvider, ServiceAccount string }
	DockerHub     *struct{ OIDCConnectionID string }
	TransitEngine *TransitEngineSpec
}

// TransitEngineSpec has the address of a Vault.
type TransitEngineSpec struct{ LoginPath, Role string }

// OptedIn returns whether the credentials are in use.
func (*AuthSpec) OptedIn() bool { return false }

func none(*Spec) {}

// BuildSpec returns an empty Spec.
func BuildSpec(...Option) (*Spec, error) { return &Spec{}, nil }

// These options change nothing.

func WithAnnotations(map[string]string) Option { return none }
func WithServiceProvider(string) Option        { return none }
func WithSOPSVaultConfigMap() Option           { return none }
func WithKubeConfigCluster(string) Option      { return none }
func WithKubeConfigAudiences(string) Option    { return none }

// These functions refuse, or know nothing.

func ParseArtifactRepository(string, string) (string, error)   { return "", errNone }
func ParseGitRepository(string, string) (string, error)        { return "", errNone }
func ParseClusterAddress(string) (string, error)               { return "", errNone }
func GetRegistryFromArtifactRepository(string) (string, error) { return "", errNone }
func GetAWSRegionFromCodeCommitURL(string) (string, error)     { return "", errNone }
func GetAWSRegionFromArtifactRegistryInput(string) string      { return "" }
func GetAWSRoleSessionName(string, string, string) string      { return "" }
func GetDefaultAudienceGCP(string) string                      { return "" }
