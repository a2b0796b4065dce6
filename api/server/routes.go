package server

import (
	"net/http"
	"os"

	"naru/api"
	"naru/naru"
)

// routes lists every request the API answers.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	for pattern, f := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /v1/version":  s.version,
		"POST /v1/session": s.session,

		"GET /v1/apps":                      s.listApps,
		"POST /v1/apps/{app}/up":            s.up,
		"POST /v1/apps/{app}/down":          s.down,
		"POST /v1/apps/{app}/scale":         s.scale,
		"POST /v1/apps/{app}/rollback":      s.rollback,
		"GET /v1/apps/{app}/config":         s.getConfig,
		"PATCH /v1/apps/{app}/config":       s.changeConfig,
		"GET /v1/apps/{app}/releases":       s.listReleases,
		"GET /v1/apps/{app}/rollout":        s.getRollout,
		"GET /v1/apps/{app}/rollout/events": s.followRollout,
		"GET /v1/apps/{app}/instances":      s.listInstances,
		"GET /v1/apps/{app}/logs":           s.appLogs,
		"POST /v1/apps/{app}/exec":          s.execInApp,
		"POST /v1/apps/{app}/run":           s.runJob,

		"GET /v1/containers":               s.listContainers,
		"POST /v1/containers":              s.createContainer,
		"POST /v1/containers/run":          s.runContainer,
		"POST /v1/containers/prune":        s.pruneContainers,
		"GET /v1/containers/{id}":          s.getContainer,
		"PATCH /v1/containers/{id}":        s.updateContainer,
		"DELETE /v1/containers/{id}":       s.removeContainer,
		"POST /v1/containers/{id}/start":   s.startContainer,
		"POST /v1/containers/{id}/stop":    s.stopContainer,
		"POST /v1/containers/{id}/restart": s.restartContainer,
		"POST /v1/containers/{id}/kill":    s.killContainer,
		"POST /v1/containers/{id}/pause":   s.pauseContainer,
		"POST /v1/containers/{id}/unpause": s.unpauseContainer,
		"POST /v1/containers/{id}/rename":  s.renameContainer,
		"POST /v1/containers/{id}/wait":    s.waitContainer,
		"POST /v1/containers/{id}/attach":  s.attachContainer,
		"GET /v1/containers/{id}/top":      s.containerTop,
		"GET /v1/containers/{id}/usage":    s.containerUsage,
		"GET /v1/containers/{id}/logs":     s.containerLogs,
		"POST /v1/containers/{id}/exec":    s.execInContainer,

		"GET /v1/containers/{id}/path":        s.containerPath,
		"GET /v1/networks":                    s.listNetworks,
		"POST /v1/networks":                   s.createNetwork,
		"POST /v1/networks/prune":             s.pruneNetworks,
		"GET /v1/networks/{name}":             s.getNetwork,
		"DELETE /v1/networks/{name}":          s.removeNetwork,
		"POST /v1/networks/{name}/connect":    s.connectNetwork,
		"POST /v1/networks/{name}/disconnect": s.disconnectNetwork,

		"GET /v1/containers/{id}/stat":    s.statFile,
		"GET /v1/containers/{id}/files":   s.copyOut,
		"GET /v1/containers/{id}/export":  s.exportContainer,
		"GET /v1/containers/{id}/changes": s.containerChanges,
		"PUT /v1/containers/{id}/files":   s.copyIn,

		"GET /v1/volumes":              s.listVolumes,
		"POST /v1/volumes":             s.createVolume,
		"POST /v1/volumes/prune":       s.pruneVolumes,
		"GET /v1/volumes/{name}":       s.getVolume,
		"DELETE /v1/volumes/{name}":    s.removeVolume,
		"GET /v1/volumes/{name}/files": s.exportVolume,
		"PUT /v1/volumes/{name}/files": s.importVolume,

		"GET /v1/system/events":       s.engineEvents,
		"POST /v1/system/fsck":        s.fsck,
		"GET /v1/system/df":           s.diskUsage,
		"POST /v1/system/prune-cache": s.pruneCache,

		"GET /v1/images":              s.listImages,
		"POST /v1/images/pull":        s.pullImage,
		"POST /v1/images/tag":         s.tagImage,
		"POST /v1/images/import":      s.importImage,
		"GET /v1/images/{name...}":    s.getImage,
		"DELETE /v1/images/{name...}": s.removeImage,

		"/": unknownPath,
	} {
		mux.HandleFunc(pattern, s.handle(f))
	}
	return mux
}

func unknownPath(_ http.ResponseWriter, r *http.Request) error {
	return naru.Errorf(naru.NotFound, "the API has no %s %s", r.Method, r.URL.Path)
}

func (s *Server) version(w http.ResponseWriter, _ *http.Request) error {
	return reply(w, api.VersionInfo{Version: s.cfg.Version, API: api.Version, PID: os.Getpid()})
}
